package main

import (
	"context"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/presence"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/sshconfig"
)

const rebootHelp = `Reboot hosts, and wait until each is back with another boot ID.

  fleetssh reboot -w web[1-20] --sudo --batch 1,10% --gate 'curl -fs localhost'
  fleetssh reboot -w web7 --sudo
  fleetssh reboot -w web[1-20] --sudo --dry-run

usage: fleetssh reboot [options]

Rebooting:
      --sudo                reboot as root
      --ask-sudo-pass       ask once for the sudo password of all hosts
      --sudo-password-file FILE
                            read it as --password-file does
      --sudo-password-command LINE
                            read it as --password-command does
      --command LINE        reboot with LINE: systemctl reboot, shutdown -r now or
                            reboot, the first that works
` + presence.Help + `
A host is back when it answers a login and tells another boot ID: a host that has
not gone down yet is not taken for one that is back. A host that cannot be logged
in to is not rebooted. At most --fanout hosts are rebooted at once.

` + selection.Help + `
Rolling changes safely:
      --dry-run             show what each host would be sent, contact none
      --batch SIZES         reboot in batches of so many hosts: 1,10%,100%; the
                            last size is repeated. The rollout stops after a batch
                            with failed hosts, unless --max-fail allows it. It
                            always stops if all hosts of the first batch fail
      --pause DUR           wait between batches
` + gateHelp + `      --max-fail N          reboot no more hosts once more than N, or N%, have
                            failed; hosts that have begun by then finish
      --confirm-over N      ask before rebooting more than N hosts (1)
      --yes                 do not ask
      --deadline DUR        stop everything after this time
      --exit-policy POLICY  worst: as below (default); max: the largest exit code
                            of the command, as pdsh -S; none: always 0

` + display.WaitHelp + `
` + record.Help + `
DUR is 10 or 10s for seconds, 500ms, 2m. The exit code is 3 if hosts are not back,
and 5 if the command failed: those hosts are not rebooted.

`

// rebootOptions are the flags of reboot.
type rebootOptions struct {
	hosts        selection.Flags
	poll         presence.Flags
	command      string
	sudo         bool
	sudoPassword selection.PasswordFlags
	safety       safetyFlags
	show         display.WaitFlags
	record       record.Flags
	flags        *pflag.FlagSet // as given
}

func (o *rebootOptions) register(flags *pflag.FlagSet) {
	o.hosts.Use = sshconfig.UseCommands
	o.hosts.Register(flags)
	o.poll.Register(flags)
	o.command = presence.RebootLine
	flags.Var(flagvalue.NonEmpty{To: &o.command}, "command", "")
	flags.BoolVar(&o.sudo, "sudo", false, "")
	o.sudoPassword.Register(flags, true)
	o.safety.register(flags)
	o.safety.confirmOver = 1
	o.show.Register(flags)
	o.record.Register(flags)
}

func newReboot(c *app) *cobra.Command {
	o := new(rebootOptions)
	cmd := &cobra.Command{
		Use:  "reboot",
		Long: rebootHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError("hosts are chosen with -w", "reboot takes no arguments")
			}
			o.flags = cmd.Flags()
			o.record.Capture(o.flags, c.settings)
			if err := o.check(); err != nil {
				return err
			}
			return o.run(cmd.Context(), c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// check refuses flags that are wrong for any hosts.
func (o *rebootOptions) check() error {
	if err := refuse(o.flags, presence.OwnPace, "attempts", "retry-delay", "control-path"); err != nil {
		return err
	}
	if err := o.poll.Check(); err != nil {
		return err
	}
	if err := o.sudoPassword.CheckSudo(o.flags, o.sudo, &o.hosts.Password); err != nil {
		return err
	}
	if err := o.show.Check(); err != nil {
		return err
	}
	if err := o.safety.check(); err != nil {
		return err
	}
	return o.record.Check()
}

func (o *rebootOptions) run(ctx context.Context, c *app) error {
	o.hosts.Offline = o.safety.dryRun
	hosts, err := o.hosts.Hosts(ctx, c.environment(), o.show.Format == "json")
	if err != nil {
		return err
	}
	presence.OneLogin(hosts)
	r := &rebooter{rollout: rollout{c: c, safety: &o.safety, hosts: hosts}, o: o}
	r.command = fleetssh.Command{Line: o.command, Shell: "sh -c", Sudo: o.sudo}
	sizes, err := o.safety.batchSizes(len(hosts))
	if err != nil {
		return err
	}
	if err := o.safety.checkGate(hosts, nil); err != nil {
		return err
	}
	if err := validateHosts(hosts); err != nil {
		return err
	}
	if o.safety.dryRun {
		defer o.safety.showGate(c.screen)
		plan := display.Plan{Screen: c.screen, Hosts: hosts, Sizes: sizes}
		return showLines(plan, func(int) (string, error) { return r.command.CommandLine(0) })
	}
	if err := o.safety.confirmRun(ctx, c, "reboot", len(hosts)); err != nil {
		return err
	}
	if o.sudo {
		if r.command.SudoPassword, err = c.environment().SudoPasswords(ctx, hosts, &o.sudoPassword); err != nil {
			return err
		}
	}
	return r.run(ctx, sizes)
}

// rebooter reboots hosts in batches.
type rebooter struct {
	rollout
	o       *rebootOptions
	command fleetssh.Command
	watch   atomic.Pointer[presence.Watch] // of the batch; nil: none has begun
	show    display.Display
}

// run reboots all hosts.
func (r *rebooter) run(ctx context.Context, sizes []int) error {
	work, end, err := r.start(ctx, r.o.hosts.Fanout)
	if err != nil {
		return err
	}
	defer end()
	r.o.hosts.SetPasswordPolicy(r.c.environment(), r.client)
	r.summary.Outstanding.Working = r.working
	r.o.record.Simulated, r.o.record.Verb = r.c.redirect != nil, "reboot"
	r.o.record.JSON = r.o.show.Format == "json"
	r.record = r.o.record.Start(r.c.screen, r.summary, journal.Start{Command: "reboot"})
	var endDisplay func()
	r.show, endDisplay = r.o.show.Display(display.View{Screen: r.c.screen, Summary: r.summary, Command: "reboot", Record: r.record.Wrap})
	defer endDisplay()
	err = r.runBatches(work, sizes, func(int) error { return r.batch(work) }, func(left *results.Result) { r.show.Finished(left) })
	if err != nil {
		return err
	}
	return r.finish(ctx, work, r.show.Close)
}

// batch reboots the hosts of a batch.
func (r *rebooter) batch(ctx context.Context) error {
	watch := &presence.Watch{
		Client: r.client, Every: r.o.poll.Every, Timeout: r.o.poll.Timeout, Logins: r.o.hosts.Fanout, Begun: r.o.hosts.Fanout,
		Limited: r.limited, MaxFailed: r.client.MaxFailures, Doing: "rebooting",
	}
	reboot := &presence.Reboot{Watch: watch, Command: r.command, Before: func(i int) { r.record.HostStarted(r.from + i) }}
	reboot.Begin()
	r.watch.Store(watch)
	watch.Run(ctx, reboot.Attempt, func(e presence.End) {
		r.show.Finished(r.summary.AddResult(reboot.Result(e, r.from+e.Index)))
	})
	return nil
}

// working returns what the hosts of the batch are doing.
func (r *rebooter) working() []fleetssh.Progress {
	from, watch := int(r.activeFrom.Load()), r.watch.Load()
	if from < 0 || watch == nil {
		return nil
	}
	work := watch.Working()
	for i := range work {
		work[i].Index += from
	}
	return work
}
