package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const explainHelp = `Show how a host would be reached and logged in to, and why. No host is contacted
and no name is looked up.

  fleetssh explain web1
  fleetssh explain -l deploy -J bastion web1
  fleetssh explain -K web1.example.com

usage: fleetssh explain [options] HOST...

` + selection.Help + `
Output:
      --format FORMAT       text: for people (default)
                            json: one object for each hop and host

A line with "-" would be skipped, for the reason after it. Login methods and keys
are listed in the order in which they are offered.
DUR is 10 or 10s for seconds, 500ms, 2m.

`

// explainOptions are the flags of explain.
type explainOptions struct {
	hosts    selection.Flags
	format   string
	settings *settings.Defaults // the source of flag values
}

func (o *explainOptions) register(flags *pflag.FlagSet) {
	o.hosts.Register(flags)
	o.format = "text"
	flags.Var(flagvalue.Choice{To: &o.format, From: []string{"text", "json"}}, "format", "")
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
	o.hosts.Offline, o.settings = true, c.settings
	hosts, err := o.hosts.Hosts(ctx, c.environment(), false)
	if err != nil {
		return err
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
		for n := range plans {
			if o.format == "json" {
				j := newJSONPlan(hosts[i].Name, i, &plans[n], n == len(plans)-1)
				if !j.Hop {
					j.Config = lines
				}
				display.PutJSON(c.screen, j)
				continue
			}
			o.show(c.screen, &plans[n], len(plans)-1-n, lines)
		}
		if o.format != "json" {
			showLines(c.screen, lines)
		}
	}
	return nil
}

// phaseTitles are the titles of the phases.
var phaseTitles = map[fleetssh.Phase]string{fleetssh.PhaseConnect: "reach", fleetssh.PhaseHostKey: "host key", fleetssh.PhaseAuth: "log in"}

// show shows the plan for one hop or host; after is how many follow it on the route.
func (o *explainOptions) show(screen *termline.Screen, p *fleetssh.Plan, after int, lines []selection.ConfigLine) {
	title := p.Host.Host
	if p.Host.Alias != "" {
		title = p.Host.Alias + "  at " + title
	}
	if after > 0 {
		title += "  (hop)"
	}
	out := func(format string, args ...any) { screen.Out("", fmt.Sprintf(format, args...)) }
	out("%s", title)
	out("  %-10s %s  (%s)", "user", p.User, o.userFrom(p, after, lines))
	out("  %-10s %d  (%s)", "port", p.Port, o.portFrom(p, after, lines))
	if after == 0 {
		o.showSettings(out)
	}
	phase := fleetssh.Phase("")
	for _, s := range p.Steps {
		name := ""
		if s.Phase != phase {
			phase, name = s.Phase, phaseTitles[s.Phase]
		}
		mark := ""
		if s.Passed {
			mark = "- "
		}
		text := fmt.Sprintf("  %-10s %s%s", name, mark, s.What)
		if s.Why != "" {
			text += "  (" + s.Why + ")"
		}
		out("%s", text)
	}
}

// showSettings shows the flags that the user's file has set.
func (o *explainOptions) showSettings(out func(format string, args ...any)) {
	title := "settings"
	for _, line := range o.settings.Lines() {
		out("  %-10s %s", title, line)
		title = ""
	}
}

// showLines shows lines of ssh_config.
func showLines(screen *termline.Screen, lines []selection.ConfigLine) {
	title := "ssh config"
	for _, l := range lines {
		mark, why := "", l.Origin
		if l.Passed {
			mark, why = "- ", l.Origin+": "+l.Why
		}
		screen.Out("", termline.Visible(fmt.Sprintf("  %-10s %s%s %s  (%s)", title, mark, l.Keyword, l.Value, why)))
		title = ""
	}
}

// userFrom returns where the user name comes from.
func (o *explainOptions) userFrom(p *fleetssh.Plan, after int, lines []selection.ConfigLine) string {
	switch {
	case p.Host.User == "":
		return "the user who runs fleetssh"
	case after == 0 && p.Host.User == o.hosts.Login:
		return cmp.Or(o.settings.Origin("login"), "-l")
	}
	return namedBy(after, lines, "User", p.User)
}

// namedBy returns where a setting comes from that is neither a flag nor a default.
func namedBy(after int, lines []selection.ConfigLine, keyword, value string) string {
	for _, l := range lines {
		if after == 0 && l.Keyword == keyword && l.Value == value {
			return l.Origin
		}
	}
	if after > 0 {
		return "from -J or ssh_config"
	}
	return "given with the host"
}

// portFrom returns where the port comes from.
func (o *explainOptions) portFrom(p *fleetssh.Plan, after int, lines []selection.ConfigLine) string {
	switch {
	case p.Host.Port == 0:
		return "default"
	case after == 0 && p.Host.Port == o.hosts.Port:
		return cmp.Or(o.settings.Origin("port"), "-p")
	}
	return namedBy(after, lines, "Port", strconv.Itoa(p.Port))
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
