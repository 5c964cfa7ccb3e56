package main

import (
	"cmp"
	"context"
	"log/slog"
	"os/signal"
	"syscall"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/tty"
)

// interact runs the command on a single host with the user's terminal attached.
func (r *runner) interact(ctx context.Context, t *tty.Terminal) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	runCtx := ctx
	if r.o.safety.deadline > 0 {
		var cancel context.CancelFunc
		runCtx, cancel = context.WithTimeout(ctx, r.o.safety.deadline)
		defer cancel()
	}
	r.summary = results.New(r.hosts)
	r.summary.Policy = r.o.safety.exitPolicy
	r.o.record.Simulated = r.c.redirect != nil
	r.record = r.o.record.Start(r.c.screen, r.summary, journal.Start{Command: r.title, Program: r.program})
	defer r.record.Close()
	r.client = &fleetssh.ParallelClient{
		Hosts: selection.Configs(r.hosts), Logger: slog.New(r.c.warnings), BeforeStart: func(i int) { r.record.HostStarted(i) },
	}
	r.o.hosts.SetPasswordPolicy(r.c.environment(), r.client)
	defer r.client.Close()
	command := r.command
	command.OpenStdin = true
	command.PTY.Modes = t.Modes()
	outs, err := r.client.RunCommand(runCtx, command)
	if outs == nil {
		return selection.UsageError(err, r.hosts)
	}
	r.c.screen.Flush() // earlier messages come first
	var local error    // a local error
	if out := outs[0]; out.Err == nil {
		local = t.Attach(runCtx, out, r.client.Close)
	}
	result := r.summary.Add(fleetssh.Event{Kind: fleetssh.Finished, Output: outs[0]})
	r.record.Wrap(display.NewQuiet(display.View{})).Finished(result)
	r.summary.Interrupted = ctx.Err() != nil
	r.c.warnings.Show(r.c.screen)
	if result.Outcome.Kind != fleetssh.Exited {
		r.showEnd(result)
	}
	ended := r.record.Finish()
	if local != nil && ctx.Err() == nil {
		return local
	}
	return ended
}

// showEnd shows how a session ended if not with an exit status.
func (r *runner) showEnd(result *results.Result) {
	title, _ := result.Title()
	line := "fleetssh: " + r.hosts[0].Label + ": " + title
	if result.Problem.Reason != "" {
		line += ": " + result.Problem.Reason
	}
	r.c.screen.Message(line)
	for _, detail := range result.Problem.Detail {
		r.c.screen.Message("    " + detail)
	}
	hint := result.Problem.Hint
	if k := result.Problem.Key; k != nil && k.Hop == "" {
		hint = results.TrustHint(r.hosts[0].Flags, k, []string{cmp.Or(r.hosts[0].Given, k.Name)})
	}
	if hint != "" {
		r.c.screen.Message("hint: " + hint)
	}
}
