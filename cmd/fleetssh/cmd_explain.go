package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/explain"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/selection"
)

const explainHelp = `Show how a host would be reached and logged in to, and why. No host is contacted
and no name is looked up.

  fleetssh explain web1
  fleetssh explain -l deploy -J bastion web1
  fleetssh explain -K web1.example.com

usage: fleetssh explain [options] HOST...

` + selection.Help + `
Output:
      --format FORMAT       text: for people; hosts that are reached in the same
                            way are explained once (default)
                            json: one object for each hop and host
      --verbose             text: each host is explained on its own

A line with "-" would be skipped, for the reason after it. Login methods and keys
are listed in the order in which they are offered.
DUR is 10 or 10s for seconds, 500ms, 2m.

`

// explainOptions are the flags of explain.
type explainOptions struct {
	hosts   selection.Flags
	format  string
	verbose bool
}

func (o *explainOptions) register(flags *pflag.FlagSet) {
	o.hosts.Register(flags)
	o.format = "text"
	flags.Var(flagvalue.Choice{To: &o.format, From: []string{"text", "json"}}, "format", "")
	flags.BoolVar(&o.verbose, "verbose", false, "")
}

func newExplain(c *app) *cobra.Command {
	o := new(explainOptions)
	cmd := &cobra.Command{
		Use:  "explain",
		Long: explainHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuse(cmd.Flags(), "no host is contacted", "fanout"); err != nil {
				return err
			}
			return o.run(cmd.Context(), c, args)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *explainOptions) run(ctx context.Context, c *app, args []string) error {
	o.hosts.AddArgs(args, c.environment())
	o.hosts.Offline = true
	hosts, err := o.hosts.Hosts(ctx, c.environment(), false)
	if err != nil {
		return err
	}
	text := explain.Explanations{
		Screen: c.screen, Verbose: o.verbose,
		Origins: explain.Origins{Login: o.hosts.Login, Port: o.hosts.Port, Settings: c.settings},
	}
	for i := range hosts {
		lines, err := o.hosts.SSHConfig.Lines(&hosts[i], o.hosts.Login)
		if err != nil {
			return err
		}
		plans, err := fleetssh.Explain(ctx, hosts[i].Config)
		if err != nil {
			return exit.UsageError("", "%v", err)
		}
		if o.format != "json" {
			text.Add(hosts[i].Label, plans, lines)
			continue
		}
		for n := range plans {
			j := newJSONPlan(hosts[i].Name, i, &plans[n], n == len(plans)-1)
			if !j.Hop {
				j.Config = lines
			}
			display.PutJSON(c.screen, j)
		}
	}
	text.Close()
	return nil
}

// jsonPlan is the plan for one hop or host.
type jsonPlan struct {
	Type  string     `json:"type"`
	Host  string     `json:"host"`  // the host that is explained
	Index int        `json:"index"` // of that host
	At    string     `json:"at"`    // the hop or host of this plan
	Hop   bool       `json:"hop"`
	User  string     `json:"user"`
	Port  int        `json:"port"`
	Steps []jsonStep `json:"steps"`

	Config []selection.ConfigLine `json:"ssh_config,omitempty"`
}

type jsonStep struct {
	Phase  string `json:"phase"`
	What   string `json:"what"`
	Why    string `json:"why,omitempty"`
	Passed bool   `json:"passed,omitempty"`
}

func newJSONPlan(host string, index int, p *fleetssh.Plan, last bool) jsonPlan {
	j := jsonPlan{Type: "plan", Host: host, Index: index, At: p.Host.Host, Hop: !last, User: p.User, Port: p.Port}
	for _, s := range p.Steps {
		j.Steps = append(j.Steps, jsonStep{string(s.Phase), strings.TrimSpace(s.What), s.Why, s.Passed})
	}
	return j
}
