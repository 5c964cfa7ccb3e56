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

	safety safetyFlags
	show   display.CopyFlags
	record record.Flags
}

const copyHelp = `How to copy:
  -r, --recursive           directories with all that is in them
  -P, --preserve            keep modes and modification times
      --resume              go on with files that an earlier copy left unfinished,
                            and leave out those that are there
      --verify              compare checksums of both sides
      --delete              with -r: remove from the copied directories what the
                            source does not have, unless anything went wrong
      --limit-rate RATE     bytes a second for all hosts together: 500K, 10M, 1G
      --open-files N        files open here at once, for all hosts together (256)
      --protocol PROTOCOL   sftp (default); scp: for hosts without an SFTP server
  -u, --timeout DUR         give a host up after this time (never)

In paths, %(host)s stands for the name of the host, %(user)s for the user,
%(port)s for the port, %(index)s for its place in the list, from 0, and %(name)s
for a value of --args-file. Where one of these is used, %% is a percent sign.
`

const copySafetyHelp = `With care:
      --dry-run             say what would be copied where, contact none
      --args-file FILE      values for %(name)s in paths, by host: CSV whose first
                            line names the columns, one of them host, or JSON:
                            {"web1": {"name": "value"}}
      --batch SIZES         so many hosts first, then so many: 1,10%,100%; the
                            last size is repeated. A batch in which hosts fail is
                            the last one, unless --max-fail allows it; the first
                            one, if all of its hosts fail, is so in any case
      --pause DUR           wait between batches
      --max-fail N          begin no more hosts once more than N, or N%, failed;
                            those that are being copied to by then go on
      --confirm-over N      ask before copying to or from more than N hosts
      --yes                 do not ask
      --deadline DUR        stop everything after this time
      --exit-policy POLICY  worst: as below (default); max: 1 where files were not
                            copied, as scp; none: always 0
`

const copyEndHelp = `
DUR is 10 or 10s for seconds, 500ms, 2m.

Of the exit codes, 5 says that some hosts were reached and not all was copied.

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
	o.safety.register(flags)
	o.show.Register(flags)
	o.record.Register(flags)
}

// newCopy returns the verb that copies in one direction.
func newCopy(c *call, verb, help string) *cobra.Command {
	o := &copyOptions{verb: verb}
	cmd := &cobra.Command{
		Use:  verb,
		Long: help,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseForAgent(cmd.Flags()); err != nil {
				return err
			}
			o.record.Note(cmd.Flags(), c.settings)
			return o.run(cmd.Context(), c, args)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// run copies.
func (o *copyOptions) run(ctx context.Context, c *call, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	o.hosts.NothingAsked = o.safety.dryRun
	if name := o.hosts.Unquoted(args); name != "" && len(args) > 2 {
		c.screen.Message("hint: " + name + " is one of the files, and " + selection.QuoteHint)
	}
	hosts, err := o.hosts.Hosts(ctx, c.env(), o.show.Format == "json")
	if err != nil {
		return err
	}
	plan, err := o.plan(args, hosts)
	if err != nil {
		return err
	}
	sizes, err := o.safety.sizes(len(hosts))
	if err != nil {
		return err
	}
	if o.safety.dryRun {
		return plan.show(c.screen, sizes)
	}
	if err := o.safety.confirm(ctx, c, plan.text(), len(hosts)); err != nil {
		return err
	}
	o.record.Verb, o.record.Words = o.verb, plan.recorded()
	r := &copier{rollout: rollout{c: c, safety: &o.safety, hosts: hosts}, o: o, plan: plan}
	return r.run(ctx, sizes)
}

// check refuses flags that are wrong whatever the hosts are.
func (o *copyOptions) check(args []string) error {
	usage := "fleetssh put -w HOSTS LOCAL... REMOTE"
	if o.verb == "get" {
		usage = "fleetssh get -w HOSTS REMOTE... LOCAL"
	}
	switch {
	case len(args) == 0:
		return exit.UsageError(usage, "no files given")
	case len(args) == 1:
		return exit.UsageError(usage, "%s %s to where?", o.verb, args[0])
	case o.remove && !o.recursive:
		return exit.UsageError("add -r", "--delete is for directories")
	case o.protocol == "scp" && (o.resume || o.remove):
		return exit.UsageError("", "--resume and --delete need --protocol sftp")
	}
	for _, path := range args {
		if path == "" {
			return exit.UsageError(usage, "a path is empty")
		}
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
		Glob: o.verb == "get", // put leaves it to the shell here
	}
	if o.protocol == "scp" {
		opts.Protocol = fleetssh.SCP
	}
	return opts
}
