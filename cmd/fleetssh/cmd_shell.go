package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/fleetshell"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/tty"
	"fleetssh/sshconfig"
)

const shellHelp = `One prompt, many hosts: each line runs on all of them.

  fleetssh shell -w web[1-20]
  fleetssh shell -w web[1-20] -b              identical output once
  fleetssh shell -w web[1-20] < lines.txt     the lines of a file, one by one

usage: fleetssh shell [options]

A shell on every host keeps what a line changes, such as the directory and
variables, for the next line: bash or zsh if that is the login shell there,
otherwise sh. Commands have no terminal and, except with :send and :each, no
input. Exit codes other than zero are shown below the output. Nothing is recorded.

A command of several lines (a here-document, an open quote, "if" up to its "fi")
runs as a whole after its last line; the prompt is "> " until then. Editors such
as vi are not started: use fleetssh run --tty for them.

Ctrl-C interrupts what runs on the hosts, not the shells; the second Ctrl-C gives
up on hosts that do not react. Arrow keys and Ctrl-R find earlier lines, Tab
completes commands and paths as one of the hosts knows them. Lines that begin
with a blank are not kept in the history.

` + fleetshell.Help + `
` + selection.Help + `
Running lines:
  -u, --timeout DUR         interrupt a line after this time (never)

Output:
      --format FORMAT       stream: each line as it comes, after its host
                            (default)
                            fold: identical output once
  -b, --fold                the same as --format fold
      --diff                fold, and how the others differ from the most common
  -N, --no-label            lines without their hosts
      --color WHEN          auto (on a terminal; NO_COLOR turns colours off,
                            CLICOLOR_FORCE on), always, never
` + display.TraceHelp + `
If input is not a terminal, the exit code is that of the worst line; in a dialogue
it is 0 if any host was reached. DUR is 10 or 10s for seconds, 500ms, 2m.

`

// shellOptions are the flags of shell.
type shellOptions struct {
	hosts   selection.Flags
	timeout time.Duration
	show    display.Flags
}

func (o *shellOptions) register(flags *pflag.FlagSet) {
	o.hosts.Use = sshconfig.UseCommands
	o.hosts.Register(flags)
	flags.VarP(flagvalue.Duration{To: &o.timeout}, "timeout", "u", "")
	o.show.RegisterForShell(flags)
}

func newShell(c *app) *cobra.Command {
	o := new(shellOptions)
	cmd := &cobra.Command{
		Use:  "shell",
		Long: shellHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return o.hosts.NoCommand("shell", args)
			}
			return o.run(cmd.Context(), c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// run opens the shells and runs lines until there are no more.
func (o *shellOptions) run(ctx context.Context, c *app) error {
	if err := o.show.Check(); err != nil {
		return err
	}
	hosts, err := o.hosts.Hosts(ctx, c.environment(), false)
	if err != nil {
		return err
	}
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts), PoolSize: o.hosts.Fanout, Logger: slog.New(c.warnings)}
	o.hosts.SetPasswordPolicy(c.environment(), client)
	s := fleetshell.New(fleetshell.Config{
		Hosts: hosts, Client: client, In: c.in, Screen: c.screen, Warnings: c.warnings, Show: o.show, Timeout: o.timeout,
	})
	defer s.Close()
	if err := s.Open(ctx); err != nil {
		return err
	}
	if !tty.IsTerminal(c.in) || !term.IsTerminal(int(os.Stdout.Fd())) {
		return s.Script(ctx)
	}
	signals, release := interrupt.Capture(ctx)
	defer release()
	return s.Dialogue(ctx, signals)
}
