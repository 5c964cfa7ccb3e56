package main

import (
	"context"
	"io"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/fullscreen"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/localscript"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/stdin"
)

// runner runs a command on hosts in batches and shows the output.
type runner struct {
	rollout
	o       *runOptions
	command fleetssh.Command
	title   string              // the command as the user gave it
	program journal.Program     // the script or login shell, if any
	script  *localscript.Script // nil: none
	stdin   io.Reader           // for all hosts; nil: none
	show    display.Display
}

// run runs the command on all hosts.
func (r *runner) run(ctx context.Context, sizes []int) error {
	work, end, err := r.rollout.start(ctx, r.o.hosts.Fanout)
	if err != nil {
		return err
	}
	defer end()
	r.o.hosts.SetPasswordPolicy(r.c.environment(), r.client)
	defer limitMemory(memoryForRun, r.o.hosts.Fanout)()
	again, err := stdin.ForBatches(r.stdin, len(sizes))
	if err != nil {
		return err
	}
	defer again.Close()
	r.summary.NoSudoPassword = (r.command.Sudo || r.command.User != "") && r.command.SudoPassword == nil
	r.gateArgs, r.gateTimeout = r.command.HostArgs, r.command.Timeout
	if r.safety.step {
		r.batchFold = display.NewBatchFold(r.c.screen, r.summary)
		defer r.batchFold.Close()
	}
	endDisplay := func() {}
	defer func() { endDisplay() }()
	err = r.runBatches(work, sizes, func(size int) error {
		events, err := r.startBatch(work, again, size)
		if err != nil {
			return err
		}
		if r.show == nil {
			r.o.record.Simulated, r.o.record.JSON = r.c.redirect != nil, r.o.show.Format == "json"
			r.record = r.o.record.Start(r.c.screen, r.summary, journal.Start{Command: r.title, Program: r.program})
			v := display.View{Screen: r.c.screen, Summary: r.summary, Command: r.title, Record: r.record.Wrap, Block: r.record.Blocks()}
			if r.o.show.FullScreen {
				v.FullScreen = r.newView(ctx, r.title, sizes, fullscreen.Abilities{Stop: true, Rerun: true})
			}
			r.show, endDisplay = r.o.show.Display(v)
			interrupt.OnExit(ctx, endDisplay)
		}
		for ev := range events {
			ev.Index += r.from
			if ev.Kind == fleetssh.Finished {
				r.finished(r.summary.Add(ev))
				continue
			}
			r.show.Show(ev)
			if r.batchFold != nil {
				r.batchFold.Show(ev)
			}
		}
		return nil
	}, func(left *results.Result) { r.show.Finished(left) })
	if err != nil {
		return err
	}
	return r.finish(ctx, work, r.show.Close)
}

// again returns a runner for the hosts of r on which the user wants to run again, nil if there are none.
func (r *runner) again() (*runner, error) {
	chosen := r.view.Again()
	if chosen == nil {
		return nil, nil
	}
	next := &runner{
		rollout: rollout{c: r.c, safety: r.safety, stdinUsed: r.stdinUsed},
		o:       r.o, command: r.command, title: r.title, program: r.program, script: r.script, stdin: r.stdin,
	}
	if err := stdin.Rewind(r.stdin); err != nil {
		return nil, err
	}
	next.command.HostArgs = nil
	for _, index := range chosen {
		next.hosts = append(next.hosts, r.hosts[index])
		if r.command.HostArgs != nil {
			next.command.HostArgs = append(next.command.HostArgs, r.command.HostArgs[index])
		}
	}
	r.announceAgain(chosen)
	return next, nil
}

// finished shows the result of a host.
func (r *runner) finished(result *results.Result) {
	r.show.Finished(result)
	if r.batchFold != nil {
		r.batchFold.Finished(result)
	}
}

// startBatch starts the command on a batch.
func (r *runner) startBatch(ctx context.Context, again *stdin.Batches, size int) (func(func(fleetssh.Event) bool), error) {
	command := r.command
	if command.HostArgs != nil {
		command.HostArgs = command.HostArgs[r.from : r.from+size]
	}
	in, err := again.Reader()
	if err != nil {
		return nil, err
	}
	command.Stdin = in
	events, err := r.client.Stream(ctx, command)
	return events, selection.UsageError(err, r.hosts[r.from:r.from+size])
}
