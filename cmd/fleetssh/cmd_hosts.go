package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

const hostsHelp = `Show which hosts an expression matches. No host is contacted.

  fleetssh hosts -w web[01-20] -x web07
  fleetssh hosts -w 'rack[1-3]n[0-9]!rack2n[0-4]' --fold
  fleetssh hosts --inventory hosts.ini -g web --count
  fleetssh hosts -w web[1-100] --split 4
  fleetssh hosts -F site.cfg -w 'web*' --fold
  cut -d: -f1 failed.txt | fleetssh hosts -w - --fold

usage: fleetssh hosts [options] [EXPR...]

` + selection.ExprHelp + `  -F, --ssh-config FILE     configuration of ssh whose hosts web* matches
                            (~/.ssh/config and the system's); none: no file

Output (by default one host per line):
      --fold                one expression, as short as possible
      --count               the number of hosts
      --split N             N expressions for parts of about the same size
      --groups              the groups of the inventory, with their hosts

`

// hostsOptions are the flags of hosts.
type hostsOptions struct {
	sel         selection.ExprFlags
	fold, count bool
	split       int
	groups      bool
}

func (o *hostsOptions) register(flags *pflag.FlagSet) {
	o.sel.Register(flags)
	flags.StringVarP(&o.sel.Config, "ssh-config", "F", "", "")
	flags.BoolVar(&o.fold, "fold", false, "")
	flags.BoolVar(&o.count, "count", false, "")
	flags.Var(flagvalue.Number{To: &o.split, Min: 1, Max: 1_000_000}, "split", "")
	flags.BoolVar(&o.groups, "groups", false, "")
}

func newHosts(c *app) *cobra.Command {
	o := new(hostsOptions)
	cmd := &cobra.Command{
		Use:  "hosts",
		Long: hostsHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd.Flags(), args); err != nil {
				return err
			}
			o.sel.Prepare(c.environment())
			o.sel.AddArgs(args, c.environment())
			return o.run(cmd.Context(), c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// check refuses flags that exclude each other.
func (o *hostsOptions) check(flags *pflag.FlagSet, args []string) error {
	modes := 0
	for _, mode := range []bool{o.fold, o.count, o.split > 0, o.groups} {
		if mode {
			modes++
		}
	}
	if modes > 1 {
		return exit.UsageError("", "--fold, --count, --split and --groups exclude each other")
	}
	if !o.groups {
		return o.sel.CheckConfig()
	}
	if len(args) > 0 {
		return exit.UsageError("", "--groups shows all groups of the inventory, and takes no hosts")
	}
	return refuse(flags, "--groups shows all groups of the inventory", "hosts", "exclude", "group", "all", "where", "limit", "pick", "ssh-config")
}

func (o *hostsOptions) run(_ context.Context, c *app) error {
	if o.groups {
		return o.showGroups(c)
	}
	entries, err := o.sel.Select(fleetssh.HostConfig{})
	if err != nil {
		return err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Config.String()
	}
	set := hostset.Of(names...)
	show := func(text string) { c.screen.Out("", termline.Visible(text)) }
	switch {
	case o.count:
		show(fmt.Sprint(len(entries)))
	case o.split > 0:
		for _, part := range set.Split(o.split) {
			show(part.String())
		}
	case o.fold:
		show(set.String())
	default:
		for _, name := range names {
			show(name)
		}
	}
	return nil
}

// showGroups shows the groups of the inventory.
func (o *hostsOptions) showGroups(c *app) error {
	inv, err := o.sel.Inventory(fleetssh.HostConfig{})
	if err != nil {
		return err
	}
	if inv == nil {
		return exit.UsageError("name one with --inventory", "there is no inventory")
	}
	groups, err := inv.GroupNames()
	if err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	for _, name := range groups {
		set, err := hostset.Parse("@"+name, inv.Groups)
		if err != nil {
			return exit.UsageError("", "group %s: %v", name, err)
		}
		c.screen.Out("", termline.Visible(fmt.Sprintf("@%s (%d): %s", name, set.Len(), set)))
	}
	return nil
}
