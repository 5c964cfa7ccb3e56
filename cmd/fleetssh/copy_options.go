package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
)

// copyOptions are the flags of put and get.
type copyOptions struct {
	verb  string // put or get
	hosts selection.Flags

	recursive, preserve    bool
	resume, verify, remove bool
	rate                   int64
	openFiles              int
	protocol               string
	timeout                time.Duration

	installFlags installFlags // of put
	compare      bool         // put compares only
	diff         bool         // and shows what differs
	flags        *pflag.FlagSet
	stdin        bool   // put copies standard input
	stdinFile    string // where it is, once it has been read
	sudoPassword func(context.Context, fleetssh.HostConfig) (string, error)

	safety safetyFlags
	show   display.CopyFlags
	record record.Flags
}

const copyHelp = `Copying:
  -r, --recursive           copy directories with their contents
  -P, --preserve            keep modes and modification times
      --resume              continue files that an earlier copy left incomplete,
                            and skip those that are complete
      --verify              compare checksums on both sides
      --delete              with -r: delete from the copied directories what the
                            source does not have, unless there were errors
      --limit-rate RATE     bytes per second for all hosts together: 500K, 10M, 1G
      --open-files N        local files open at once, for all hosts together (256)
      --protocol PROTOCOL   sftp (default); scp: for hosts without an SFTP server
  -u, --timeout DUR         give up on a host after this time (never)

In paths, %(host)s is the name of the host, %(user)s the user, %(port)s the port,
%(index)s its position in the list, from 0, and %(name)s a value of --args-file.
If any path has one of these, write a percent sign as %% in all of them.
`

const copySafetyHelp = `Rolling changes safely:
      --dry-run             show what would be copied where, contact no host;
                            with -v, one line per host
      --args-file FILE      values for %(name)s in paths, per host: CSV whose
                            first line names the columns, one of them host, or
                            JSON: {"web1": {"name": "value"}}
      --batch SIZES         copy in batches of so many hosts: 1,10%,100%; the last
                            size is repeated. The rollout stops after a batch
                            with failed hosts, unless --max-fail allows it. It
                            always stops if all hosts of the first batch fail
      --pause DUR           wait between batches
` + gateHelp + `      --max-fail N          start no more hosts once more than N, or N%, have
                            failed; copies that are running by then finish
      --confirm-over N      ask before copying to or from more than N hosts
      --yes                 do not ask
      --deadline DUR        stop everything after this time
      --exit-policy POLICY  worst: as below (default); max: 1 where files were not
                            copied, as scp; none: always 0
`

const copyEndHelp = `
DUR is 10 or 10s for seconds, 500ms, 2m.

Exit code 5 means that some hosts were reached, but not everything was copied.

`

func (o *copyOptions) register(flags *pflag.FlagSet) {
	o.hosts.Register(flags)
	flags.BoolVarP(&o.recursive, "recursive", "r", false, "")
	flags.BoolVarP(&o.preserve, "preserve", "P", false, "")
	flags.BoolVar(&o.resume, "resume", false, "")
	flags.BoolVar(&o.verify, "verify", false, "")
	flags.BoolVar(&o.remove, "delete", false, "")
	flags.Var(flagvalue.Rate{To: &o.rate}, "limit-rate", "")
	flags.Var(flagvalue.Number{To: &o.openFiles, Min: 1, Max: 1_000_000}, "open-files", "")
	o.protocol = "sftp"
	flags.Var(flagvalue.Choice{To: &o.protocol, From: []string{"sftp", "scp"}}, "protocol", "")
	flags.VarP(flagvalue.Duration{To: &o.timeout}, "timeout", "u", "")
	if o.verb == "put" {
		o.installFlags.register(flags)
		flags.BoolVar(&o.compare, "check", false, "")
		flags.BoolVar(&o.diff, "diff", false, "")
	}
	o.safety.register(flags)
	o.safety.registerArgs(flags)
	o.show.Register(flags)
	flags.Lookup("ui").Annotations = map[string][]string{settings.NotInFile: nil} // scripts have no terminal
	o.record.Register(flags)
}

// newCopy returns the verb that copies in one direction.
func newCopy(c *app, verb, help string) *cobra.Command {
	o := &copyOptions{verb: verb}
	cmd := &cobra.Command{
		Use:  verb,
		Long: help,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseForAgent(cmd.Flags()); err != nil {
				return err
			}
			o.flags = cmd.Flags()
			o.record.Capture(o.flags, c.settings)
			return o.run(cmd.Context(), c, args)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// run copies.
func (o *copyOptions) run(ctx context.Context, c *app, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	if !o.safety.dryRun {
		if err := o.show.CheckFullScreen(c.in, c.out); err != nil {
			return err
		}
	}
	o.hosts.Offline = o.safety.dryRun
	if name := o.hosts.Unquoted(args); name != "" && len(args) > 2 {
		c.screen.Message("hint: " + name + " is one of the files, and " + selection.QuoteHint)
	}
	hosts, err := o.hosts.Hosts(ctx, c.environment(), o.show.Format == "json")
	if err != nil {
		return err
	}
	if o.stdin {
		remove, err := o.readStdin(c.in)
		if err != nil {
			return err
		}
		defer remove()
	}
	plan, err := o.plan(args, hosts)
	if err != nil {
		return err
	}
	if o.compare {
		return o.runCheck(ctx, c, plan)
	}
	sizes, err := o.safety.batchSizes(len(hosts))
	if err != nil {
		return err
	}
	if err := o.safety.checkGate(hosts, nil); err != nil {
		return err
	}
	if o.safety.dryRun {
		defer o.safety.showGate(c.screen)
		defer o.installFlags.showInstall(c.screen)
		return plan.show(ctx, display.Plan{Screen: c.screen, Hosts: hosts, Sizes: sizes, Verbose: o.show.Verbose})
	}
	if err := o.safety.confirmRun(ctx, c, plan.text(), len(hosts)); err != nil {
		return err
	}
	if o.sudoPassword, err = o.installFlags.passwords(ctx, c, hosts); err != nil {
		return err
	}
	o.record.Verb, o.record.Words = o.verb, plan.recorded()
	r := &copier{rollout: rollout{c: c, safety: &o.safety, hosts: hosts, stdinUsed: o.stdin || o.show.FullScreen}, o: o, plan: plan}
	for {
		err := r.run(ctx, sizes)
		if r = r.again(); r == nil {
			return err
		}
		if sizes, err = o.safety.batchSizes(len(r.hosts)); err != nil {
			return err
		}
	}
}

// check refuses flags that are wrong for any hosts.
func (o *copyOptions) check(args []string) error {
	usage := "fleetssh put -w HOSTS LOCAL... REMOTE"
	if o.verb == "get" {
		usage = "fleetssh get -w HOSTS REMOTE... LOCAL"
	}
	switch {
	case len(args) == 0:
		return exit.UsageError(usage, "no files given")
	case len(args) == 1:
		return exit.UsageError(usage, "%s %s: no destination given", o.verb, args[0])
	case o.remove && !o.recursive:
		return exit.UsageError("add -r", "--delete needs -r")
	case o.show.FullScreen && o.compare:
		return exit.UsageError("", "--ui and --check exclude each other")
	case o.protocol == "scp" && (o.resume || o.remove):
		return exit.UsageError("", "--resume and --delete need --protocol sftp")
	}
	if err := o.checkComparison(); err != nil {
		return err
	}
	if err := o.installFlags.check(o); err != nil {
		return err
	}
	for _, path := range args {
		if path == "" {
			return exit.UsageError(usage, "a path is empty")
		}
	}
	if err := o.checkStdin(args); err != nil {
		return err
	}
	if err := o.safety.check(); err != nil {
		return err
	}
	if err := o.show.Check(); err != nil {
		return err
	}
	return o.record.Check()
}

// options returns the options of the library. The plan adds the paths.
func (o *copyOptions) options() fleetssh.CopyOptions {
	opts := fleetssh.CopyOptions{
		Recursive: o.recursive, Preserve: o.preserve, Resume: o.resume, Verify: o.verify, Delete: o.remove,
		Rate: o.rate, OpenFiles: o.openFiles, Timeout: o.timeout,
		Glob: o.verb == "get", // for put, the local shell expands wildcards
	}
	if o.protocol == "scp" {
		opts.Protocol = fleetssh.SCP
	}
	if opts.Install = o.installFlags.install(); opts.Install != nil {
		opts.Install.SudoPassword = o.sudoPassword
	}
	return opts
}
