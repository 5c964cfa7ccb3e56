package main

import (
	"context"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/fullscreen"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
)

// copier copies to or from hosts in batches and shows the progress.
type copier struct {
	rollout
	o    *copyOptions
	plan *copyPlan
	show display.CopyDisplay
}

// run copies to or from all hosts.
func (r *copier) run(ctx context.Context, sizes []int) error {
	work, end, err := r.start(ctx, r.o.hosts.Fanout)
	if err != nil {
		return err
	}
	defer end()
	r.o.hosts.SetPasswordPolicy(r.c.environment(), r.client)
	r.summary.NoSudoPassword = r.o.installFlags.sudo && r.o.sudoPassword == nil
	defer limitMemory(memoryForCopy, r.o.hosts.Fanout)()
	r.o.record.Simulated, r.o.record.JSON = r.c.redirect != nil, r.o.show.Format == "json"
	r.record = r.o.record.Start(r.c.screen, r.summary, journal.Start{Command: r.plan.text()})
	v := display.CopyView{
		View: display.View{Screen: r.c.screen, Summary: r.summary, Command: r.plan.text()},
		Verb: r.plan.verb, Batches: sizes, Resume: r.o.resume, SCP: r.o.protocol == "scp", Record: r.record.WrapCopy,
	}
	if r.plan.verb == "put" {
		v.Measure = r.plan.bytes
	}
	if r.o.show.FullScreen {
		v.FullScreen = r.newView(ctx, v.Command, sizes, fullscreen.Abilities{Rerun: true, Repeat: true})
		v.FullScreen.Success = "done"
	}
	var endDisplay func()
	r.show, endDisplay = r.o.show.Display(v)
	interrupt.OnExit(ctx, endDisplay)
	defer endDisplay()
	err = r.runBatches(work, sizes, func(size int) error { return r.batch(work, size) }, func(left *results.Result) { r.show.Finished(left) })
	if err != nil {
		return err
	}
	return r.finish(ctx, work, r.show.Close)
}

// again returns a copier for the hosts of r to or from which the user wants to copy again, nil if there are
// none.
func (r *copier) again() *copier {
	chosen := r.view.Again()
	if chosen == nil {
		return nil
	}
	plan := r.plan.only(chosen)
	r.announceAgain(chosen)
	return &copier{rollout: rollout{c: r.c, safety: r.safety, hosts: plan.hosts, stdinUsed: r.stdinUsed}, o: r.o, plan: plan}
}

// batch copies to or from the hosts of a batch.
func (r *copier) batch(ctx context.Context, size int) error {
	seen := make([]bool, size)
	opts := r.plan.options(r.o.options(), r.from, size)
	opts.Progress = func(p fleetssh.CopyProgress) {
		p.Index += r.from
		r.show.Progress(p)
	}
	ended := func(i int, result fleetssh.CopyResult) {
		if !seen[i] {
			seen[i] = true
			r.show.Finished(r.summary.AddCopy(r.from+i, result))
		}
	}
	opts.Finished = ended
	results, err := r.plan.copy(ctx, r.client, &opts)
	if wrong := r.plan.wrongUsage(err); wrong != nil {
		return wrong
	}
	for i := range results {
		ended(i, results[i])
	}
	return nil
}
