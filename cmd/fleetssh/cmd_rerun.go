package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/localscript"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/internal/shellquote"
)

const rerunHelp = `Repeat the command or the copy of an earlier run on some of its hosts.

  fleetssh rerun last --failed
  fleetssh rerun last --unreachable --skipped --dry-run
  fleetssh rerun 20260922T18 --timed-out --include-unknown

usage: fleetssh rerun RUN [options]

Choosing hosts of the run (options add up):
      --failed              all that did not run the command or did not exit 0
      --all                 all hosts of the run
      --unreachable         hosts that could not be reached or logged in to
      --timed-out           hosts on which the command was stopped after --timeout
      --skipped             hosts that were skipped: nothing was started there
      --include-unknown     of these, also hosts where the command may have run,
                            or may still run, and its outcome is unknown: lost,
                            did not confirm the stop, or running when fleetssh
                            was killed. Alone: only such hosts
      --dry-run             show the command line, contact no host

` + record.RerunHelp + `
RUN is as in fleetssh runs --help. Without --include-unknown, a command is never
repeated on hosts where its outcome is unknown; these hosts are named. A copy is
repeated there in any case, and a script is run again if the file has not changed.
The options are those of the run, including what config.toml said then. Passwords
are asked for again; standard input is read again for --stdin -. What the record
shows as *** must be given again, unless config.toml has it.

If no host is left, fleetssh says so and exits 0; it exits 2 if all that are left
need --include-unknown.

`

// rerunOptions are the flags of rerun.
type rerunOptions struct {
	failed, unreachable, timedOut, skipped, all bool
	includeUnknown                              bool
	dryRun                                      bool
	again                                       record.RerunFlags
}

func (o *rerunOptions) register(flags *pflag.FlagSet) {
	flags.BoolVar(&o.failed, "failed", false, "")
	flags.BoolVar(&o.unreachable, "unreachable", false, "")
	flags.BoolVar(&o.timedOut, "timed-out", false, "")
	flags.BoolVar(&o.skipped, "skipped", false, "")
	flags.BoolVar(&o.all, "all", false, "")
	flags.BoolVar(&o.includeUnknown, "include-unknown", false, "")
	flags.BoolVar(&o.dryRun, "dry-run", false, "")
	o.again.Register(flags)
}

func newRerun(c *app) *cobra.Command {
	o := new(rerunOptions)
	cmd := &cobra.Command{
		Use:  "rerun",
		Long: rerunHelp,

		ValidArgsFunction: help.CompleteRuns(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.UsageError("fleetssh rerun last --failed", "rerun takes one run")
			}
			return o.run(cmd.Context(), c, args[0])
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *rerunOptions) run(ctx context.Context, c *app, name string) error {
	run, err := record.Open(name)
	if err != nil {
		return err
	}
	if o.classes() == nil && !o.includeUnknown {
		return exit.UsageError("add --failed, --unreachable, --timed-out, --skipped or --all", "no hosts of the run chosen")
	}
	if run.State == journal.UnderWay {
		return exit.UsageError("", "run %s is still running", run.ID)
	}
	if err := record.Repeatable(run); err != nil {
		return err
	}
	hosts, left := o.choose(run)
	if len(left) > 0 {
		c.screen.Message(fmt.Sprintf("fleetssh: left out, because the outcome of the command is unknown: %s (%d)", record.Targets(left), len(left)))
	}
	switch {
	case len(hosts) == 0 && len(left) > 0:
		return exit.UsageError("--include-unknown repeats the command there too", "no other host is left")
	case len(hosts) == 0:
		c.screen.Message(fmt.Sprintf("fleetssh: no host of run %s is left: nothing to do", run.ID))
		return nil
	}
	words, err := wordsOf(run)
	if err != nil {
		return err
	}
	root := newRoot(c, newRun, newPut, newGet)
	options, err := o.again.Options(run, root)
	if err != nil {
		return err
	}
	rest := append([]string{"--hosts=" + record.Targets(hosts).String(), "--"}, words...)
	verb := cmp.Or(run.Verb, "run")
	if o.dryRun {
		c.screen.Out("", shellquote.Join(slices.Concat([]string{"fleetssh", verb}, record.RedactArgs(options), rest)...))
		return nil
	}
	c.screen.Message(fmt.Sprintf("fleetssh: run %s again on %s (%d)", run.ID, record.Targets(hosts), len(hosts)))
	c.settings = settings.New(os.Getenv)
	c.settings.Attach(root, c.prepare)
	root.SetArgs(slices.Concat([]string{verb}, options, rest))
	return root.ExecuteContext(ctx)
}

// classes returns the classes that the flags name.
func (o *rerunOptions) classes() []string {
	var classes []string
	for class, named := range map[string]bool{"failed": o.failed, "unreachable": o.unreachable, "timed_out": o.timedOut, "skipped": o.skipped, "all": o.all} {
		if named {
			classes = append(classes, class)
		}
	}
	return classes
}

// choose returns the hosts to work on, and the hosts of the same classes that are left out because the
// outcome of the command is unknown.
func (o *rerunOptions) choose(run *journal.Run) (hosts, left []journal.HostRun) {
	chosen := make(map[int]bool)
	for _, class := range o.classes() {
		members, err := run.Select(class)
		if err != nil {
			continue // cannot happen: all of them are classes
		}
		for _, h := range members {
			chosen[h.Index] = true
		}
	}
	for _, h := range run.Hosts {
		uncertain := h.Result.Uncertain() && run.Verb == "" // a copy can be repeated safely
		switch {
		case uncertain && (chosen[h.Index] || len(chosen) == 0 && o.classes() == nil):
			if o.includeUnknown {
				hosts = append(hosts, h)
			} else {
				left = append(left, h)
			}
		case chosen[h.Index]:
			hosts = append(hosts, h)
		}
	}
	return hosts, left
}

// wordsOf returns the arguments of a run after its options.
func wordsOf(run *journal.Run) ([]string, error) {
	switch {
	case run.Verb != "":
		return run.Words, nil
	case run.Program.Script != "":
		return localscript.Recorded(run)
	case run.Program.LoginShell:
		return nil, nil
	}
	return []string{run.Command}, nil
}
