package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/drift"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/internal/compare"
)

const checkFilesHelp = `Comparing:
      --check               copy nothing; show which files the hosts lack, and
                            which differ in content, type, --mode or --owner, or
                            with -P in permissions. Exit code 5: some differ
      --diff                with --check: what the copy would change in texts of
                            up to 64 KiB; of all hosts, the first 20 contents
`

// errSudoAsks is what a comparison says if sudo wants a password that nobody has given.
var errSudoAsks = errors.New("sudo asks for a password: add --ask-sudo-pass")

// checkComparison refuses flags that have no meaning for --check.
func (o *copyOptions) checkComparison() error {
	switch {
	case o.diff && !o.compare:
		return exit.UsageError("add --check", "--diff needs --check")
	case !o.compare:
		return nil
	}
	return refuse(o.flags, "--check copies nothing", "resume", "verify", "delete", "backup", "limit-rate", "open-files", "protocol",
		"batch", "pause", "max-fail", "gate", "gate-local", "step", "confirm-over", "yes", "dry-run", "exit-policy")
}

// runCheck compares the files of the plan with those on the hosts.
func (o *copyOptions) runCheck(ctx context.Context, c *app, plan *copyPlan) error {
	work, stop := c.workContext(ctx)
	defer stop()
	if o.safety.deadline > 0 {
		var cancel context.CancelFunc
		work, cancel = context.WithTimeout(work, o.safety.deadline)
		defer cancel()
	}
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(plan.hosts), PoolSize: o.hosts.Fanout, OneShot: true, Logger: slog.New(c.warnings)}
	o.hosts.SetPasswordPolicy(c.environment(), client)
	defer client.Close()
	check := &drift.Check{Client: client, Paths: plan.paths, Diff: o.diff, Timeout: o.timeout}
	check.Want = compare.Want{Preserve: o.preserve}
	check.Want.Owner, check.Want.Group, _ = strings.Cut(o.installFlags.owner, ":")
	check.Want.Mode, _ = o.installFlags.fileMode() // checked already
	if err := check.Prepare(); err != nil {
		return err
	}
	if check.Command.Sudo = o.installFlags.sudo; check.Command.Sudo {
		password, err := o.installFlags.passwords(ctx, c, plan.hosts)
		if err != nil {
			return err
		}
		if password == nil { // or sudo would take the question to the host for it
			password = func(context.Context, fleetssh.HostConfig) (string, error) { return "", errSudoAsks }
		}
		check.Command.SudoPassword = password
	}
	t := results.New(plan.hosts)
	t.Outstanding.Working = client.Working
	defer c.reportOnRequest(ctx, t.Outstanding, o.stdin)()
	o.record.Simulated, o.record.Verb, o.record.Words = c.redirect != nil, o.verb, plan.recorded()
	record := o.record.Start(c.screen, t, journal.Start{Command: plan.text()})
	defer record.Close()
	check.Before = record.HostStarted
	view := display.View{Screen: c.screen, Summary: t, Command: plan.text()}
	shown := &drift.Shown{Screen: c.screen, Summary: t, Check: check, Quiet: o.show.Quiet(), Verbose: o.show.Verbose}
	var show display.Display = shown
	asJSON := o.show.Format == "json"
	if asJSON {
		show = display.NewJSON(view)
	}
	recorded := record.Wrap(display.NewQuiet(view))
	endStatus := o.show.Status(view)
	defer endStatus()
	check.Run(work, func(h drift.Host) {
		r := t.AddResult(check.Result(h))
		for _, line := range h.Lines() {
			recorded.Show(fleetssh.Event{Kind: fleetssh.StdoutLine, Index: h.Index, Text: line})
		}
		recorded.Finished(r)
		if asJSON {
			drift.JSON(c.screen, t, h, r)
		} else {
			shown.Add(h)
		}
	})
	endStatus()
	t.Interrupted = ctx.Err() != nil
	if err := c.screen.Failure(); err != nil && !t.Interrupted {
		return exit.OutputError(err)
	}
	c.warnings.Show(c.screen)
	show.Close()
	return record.Finish()
}
