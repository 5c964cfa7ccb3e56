package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"fleetssh"
	"fleetssh/internal/journal"
)

// runner runs a command on hosts, batch after batch, and shows it.
type runner struct {
	o       *runOptions
	c       *call
	hosts   []hostEntry
	command fleetssh.Command
	title   string          // the command as the user gave it
	instead journal.Instead // what is run instead of a command line
	script  *localScript    // nil: none
	stdin   io.Reader       // for all hosts; nil: none

	client *fleetssh.ParallelClient
	tally  *tally
	show   display
	record *recorder
	from   int // index of the first host of the batch
}

// run runs the command on all hosts.
func (r *runner) run(ctx context.Context, sizes []int) error {
	runCtx, end := r.c.working(ctx)
	defer end()
	if r.o.care.deadline > 0 {
		var cancel context.CancelFunc
		runCtx, cancel = context.WithTimeout(runCtx, r.o.care.deadline)
		defer cancel()
	}
	defer boundMemory(r.o.hosts.fanout)()
	most, limited, err := r.o.care.budget(len(r.hosts))
	if err != nil {
		return err
	}
	r.client = &fleetssh.ParallelClient{PoolSize: r.o.hosts.fanout, OneShot: true, StopOnError: limited, Logger: slog.New(r.c.warnings)}
	r.client.BeforeStart = func(i int) { r.record.begins(r.from + i) }
	defer r.client.Close()
	again, err := r.rewindable(len(sizes))
	if err != nil {
		return err
	}
	defer again.close()
	t := newTally(r.hosts)
	t.policy = r.o.care.exitPolicy
	t.sudoMute = (r.command.Sudo || r.command.User != "") && r.command.SudoPassword == nil
	r.tally = t
	for n, from := 0, 0; n < len(sizes); n++ {
		r.client.MaxFailures = max(most-t.failed(), 0)
		events, err := r.begin(runCtx, again, from, sizes[n])
		if err != nil {
			return usageError("", "%v", err)
		}
		if n == 0 {
			var endDisplay func()
			r.show, endDisplay = r.o.show.display(view{screen: r.c.screen, tally: t, command: r.title})
			defer endDisplay()
			r.record = r.o.record.begin(r.c, t, journal.Start{Command: r.title, Instead: r.instead})
			defer r.record.close()
			r.show = r.record.over(r.show)
		}
		for ev := range events {
			ev.Host += from
			if ev.Kind == fleetssh.Finished {
				r.show.finished(t.add(ev))
				continue
			}
			r.show.show(ev)
		}
		from += sizes[n]
		t.overBudget = t.overBudget || limited && t.failed() > most
		if t.overBudget || runCtx.Err() != nil {
			r.leaveOut(from)
			break
		}
		if n+1 < len(sizes) {
			r.rest(runCtx, n, len(sizes))
		}
	}
	return r.finish(ctx, runCtx)
}

// begin starts the command on a batch.
func (r *runner) begin(ctx context.Context, again *rewinder, from, size int) (func(func(fleetssh.Event) bool), error) {
	r.from = from
	command := r.command
	if command.HostArgs != nil {
		command.HostArgs = command.HostArgs[from : from+size]
	}
	in, err := again.reader()
	if err != nil {
		return nil, err
	}
	command.Stdin = in
	configs := configsOf(r.hosts[from : from+size])
	if from == 0 {
		r.client.Hosts = configs
	} else {
		r.client.SetHosts(configs)
	}
	return r.client.Stream(ctx, command)
}

// rest waits between two batches.
func (r *runner) rest(ctx context.Context, n, batches int) {
	if r.o.care.pause == 0 {
		return
	}
	r.c.screen.Message(fmt.Sprintf("fleetssh: batch %d of %d is done, waiting %v", n+1, batches, r.o.care.pause))
	select {
	case <-time.After(r.o.care.pause):
	case <-ctx.Done():
	}
}

// leaveOut notes the hosts that were never begun.
func (r *runner) leaveOut(from int) {
	for i := from; i < len(r.hosts); i++ {
		r.show.finished(r.tally.put(result{index: i, outcome: fleetssh.Outcome{Kind: fleetssh.Skipped}}))
	}
}

// finish shows the totals.
func (r *runner) finish(ctx, runCtx context.Context) error {
	t := r.tally
	t.interrupted = ctx.Err() != nil
	if r.c.done != nil {
		r.c.done(t)
	}
	if err := r.c.screen.Failure(); err != nil && !t.interrupted {
		return outputError(err)
	}
	r.c.warnings.show(r.c.screen)
	if t.overBudget {
		r.c.screen.Message("fleetssh: stopped: more hosts failed than --max-fail allows")
	}
	if runCtx.Err() == context.DeadlineExceeded {
		r.c.screen.Message("fleetssh: stopped: the deadline is over after " + shortDuration(r.o.care.deadline))
	}
	r.show.close()
	return r.record.finish()
}

// rewinder gives every batch the same standard input.
type rewinder struct {
	in   io.Reader // for the only batch
	file *os.File  // for several
}

// rewindable returns the standard input for so many batches. With more than one,
// it is copied to a file first.
func (r *runner) rewindable(batches int) (*rewinder, error) {
	if r.stdin == nil || batches == 1 {
		return &rewinder{in: r.stdin}, nil
	}
	file, err := os.CreateTemp("", "fleetssh-stdin-")
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	again := &rewinder{file: file}
	if _, err := io.Copy(file, r.stdin); err != nil {
		again.close()
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return again, nil
}

// reader returns the input from its beginning, nil if there is none.
func (w *rewinder) reader() (io.Reader, error) {
	if w.file == nil {
		return w.in, nil
	}
	info, err := w.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return io.NewSectionReader(w.file, 0, info.Size()), nil
}

func (w *rewinder) close() {
	if w.file != nil {
		w.file.Close()
		_ = os.Remove(w.file.Name()) // a leftover, at worst
	}
}
