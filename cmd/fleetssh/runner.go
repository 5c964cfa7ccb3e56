package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/fullscreen"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/localscript"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
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
	again, err := r.newBatchStdin(len(sizes))
	if err != nil {
		return err
	}
	defer again.close()
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
	if file, ok := r.stdin.(io.Seeker); ok {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("standard input cannot be read again: %w", err)
		}
	}
	next.command.HostArgs = nil
	labels := make([]string, len(chosen))
	for i, index := range chosen {
		next.hosts = append(next.hosts, r.hosts[index])
		labels[i] = r.hosts[index].Label
		if r.command.HostArgs != nil {
			next.command.HostArgs = append(next.command.HostArgs, r.command.HostArgs[index])
		}
	}
	r.c.screen.Message("fleetssh: run again on " + results.CountedNames(labels))
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
func (r *runner) startBatch(ctx context.Context, again *batchStdin, size int) (func(func(fleetssh.Event) bool), error) {
	command := r.command
	if command.HostArgs != nil {
		command.HostArgs = command.HostArgs[r.from : r.from+size]
	}
	in, err := again.reader()
	if err != nil {
		return nil, err
	}
	command.Stdin = in
	events, err := r.client.Stream(ctx, command)
	return events, selection.UsageError(err, r.hosts[r.from:r.from+size])
}

// batchStdin supplies the same standard input to every batch.
type batchStdin struct {
	in   io.Reader // for the only batch
	file *os.File  // for several
}

// newBatchStdin returns the standard input for a number of batches. For several, it copies standard
// input to a temporary file first.
func (r *runner) newBatchStdin(batches int) (*batchStdin, error) {
	if r.stdin == nil || batches == 1 {
		return &batchStdin{in: r.stdin}, nil
	}
	file, err := os.CreateTemp("", "fleetssh-stdin-")
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	again := &batchStdin{file: file}
	if _, err := io.Copy(file, r.stdin); err != nil {
		again.close()
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return again, nil
}

// reader returns the input from its start, nil if there is none.
func (w *batchStdin) reader() (io.Reader, error) {
	if w.file == nil {
		return w.in, nil
	}
	info, err := w.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return io.NewSectionReader(w.file, 0, info.Size()), nil
}

func (w *batchStdin) close() {
	if w.file != nil {
		w.file.Close()
		_ = os.Remove(w.file.Name()) // a failure leaves a file in the system's temporary directory
	}
}
