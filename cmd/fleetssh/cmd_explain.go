package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
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
		explain.PutPlans(c.screen, hosts[i].Name, i, plans, lines)
	}
	text.Close()
	return nil
}
