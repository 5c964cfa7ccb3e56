package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/presence"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/sshconfig"
)

const waitHelp = `Wait until all hosts answer, until a command succeeds, or until they are gone.

  fleetssh wait -w web[1-20]
  fleetssh wait -w web[1-20] --command 'systemctl is-active nginx'
  fleetssh wait -w web7 --gone --timeout 2m
  fleetssh wait -w @last:unreachable && fleetssh rerun last --unreachable

usage: fleetssh wait [options]

Waiting:
      --command LINE        until LINE exits 0 on a host; it is stopped after 30s
      --gone                until a host does not answer, twice in a row
` + presence.Help + `
Each attempt is a login, since sshd counts bare connections as attacks. After a
refused login the next one is 30s later, and the third in a row is the last. While
sshd turns away this address, it is left alone for 30s.

` + selection.Help + `
` + display.WaitHelp + `
DUR is 10 or 10s for seconds, 500ms, 2m. The exit code is 3 if hosts were given up
after --timeout, and 4 if no login can work: a host key or a password is wrong.

`

// waitOptions are the flags of wait.
type waitOptions struct {
	hosts   selection.Flags
	poll    presence.Flags
	command string
	gone    bool
	show    display.WaitFlags
}

func (o *waitOptions) register(flags *pflag.FlagSet) {
	o.hosts.Use = sshconfig.UseCommands
	o.hosts.Register(flags)
	o.poll.Register(flags)
	flags.Var(flagvalue.NonEmpty{To: &o.command}, "command", "")
	flags.BoolVar(&o.gone, "gone", false, "")
	o.show.Register(flags)
}

func newWait(c *app) *cobra.Command {
	o := new(waitOptions)
	cmd := &cobra.Command{
		Use:  "wait",
		Long: waitHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return o.hosts.NoCommand("wait", args)
			}
			if o.gone && o.command != "" {
				return exit.UsageError("", "--gone and --command exclude each other")
			}
			if err := refuse(cmd.Flags(), presence.OwnPace, "attempts", "retry-delay", "control-path"); err != nil {
				return err
			}
			if err := o.poll.Check(); err != nil {
				return err
			}
			if err := o.show.Check(); err != nil {
				return err
			}
			return o.run(cmd.Context(), c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *waitOptions) run(ctx context.Context, c *app) error {
	hosts, err := o.hosts.Hosts(ctx, c.environment(), o.show.Format == "json")
	if err != nil {
		return err
	}
	presence.OneLogin(hosts)
	if err := validateHosts(hosts); err != nil {
		return err
	}
	work, end := c.workContext(ctx)
	defer end()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts), Logger: slog.New(c.warnings)}
	o.hosts.SetPasswordPolicy(c.environment(), client)
	defer client.Close()
	watch := &presence.Watch{
		Client: client, Every: o.poll.Every, Timeout: o.poll.Timeout, Logins: o.hosts.Fanout, Doing: "does not answer yet",
	}
	attempt, words := presence.Attempt(watch.Answers), presence.Words{Ended: "answers", Failed: "does not answer"}
	switch {
	case o.command != "":
		attempt, words = watch.Succeeds(fleetssh.Command{Line: o.command}), presence.Words{Ended: "the command succeeds", Failed: "the command does not succeed"}
		watch.Doing = "command does not succeed yet"
	case o.gone:
		attempt, words = watch.Gone(), presence.Words{Ended: "gone", Failed: "still there"}
		watch.Doing = "still there"
	}
	t := results.New(hosts)
	t.Outstanding.Working = watch.Working
	defer c.reportOnRequest(ctx, t.Outstanding, false)()
	show, endDisplay := o.show.Display(display.View{Screen: c.screen, Summary: t, Command: "wait"})
	defer endDisplay()
	watch.Run(work, attempt, func(e presence.End) {
		show.Finished(t.AddResult(words.Result(e, e.Index, &client.Hosts[e.Index])))
	})
	t.Interrupted = ctx.Err() != nil
	if err := c.screen.Failure(); err != nil && !t.Interrupted {
		return exit.OutputError(err)
	}
	c.warnings.Show(c.screen)
	show.Close()
	return t.Err()
}
