package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// rollout is work on hosts, batch after batch, as carefully as the flags ask for.
type rollout struct {
	c      *call
	safety *safetyFlags
	hosts  []selection.Host
	client *fleetssh.ParallelClient
	tally  *results.Tally
	record *record.Recorder // made before the first host begins
	from   int              // index of the first host of the batch
	at     atomic.Int64     // the same for those who ask who is at work; negative: between two batches
	reads  bool             // standard input is for the hosts

	most    int // hosts that may fail
	limited bool
	stopped string // what ended the batches early, if too many hosts failed
}

// begin prepares what all batches share. The work must be done with the context that it returns, and
// end must be called after it.
func (s *rollout) begin(ctx context.Context, fanout int) (work context.Context, end func(), err error) {
	s.most, s.limited, err = s.safety.budget(len(s.hosts))
	if err != nil {
		return nil, nil, err
	}
	work, stop := s.c.working(ctx)
	cancel := context.CancelFunc(func() {})
	if s.safety.deadline > 0 {
		work, cancel = context.WithTimeout(work, s.safety.deadline)
	}
	s.client = &fleetssh.ParallelClient{PoolSize: fanout, OneShot: true, StopOnError: s.limited, Logger: slog.New(s.c.warnings)}
	s.client.BeforeStart = func(i int) { s.record.Begins(s.from + i) }
	s.tally = results.New(s.hosts)
	s.tally.Policy = s.safety.exitPolicy
	s.tally.Waiting.Working = s.working
	unwatch := s.c.watching(ctx, s.tally.Waiting, s.reads)
	return work, func() {
		unwatch()
		if s.record != nil {
			s.record.Close()
		}
		s.client.Close()
		cancel()
		stop()
	}, nil
}

// batches calls do for each batch, whose first host is s.from, until too many hosts have failed or
// ctx ends. It then calls left for each host that was never begun.
func (s *rollout) batches(ctx context.Context, sizes []int, do func(size int) error, left func(*results.Result)) error {
	for n, size := range sizes {
		s.client.MaxFailures = max(s.most-s.tally.Failed(), 0)
		configs := selection.Configs(s.hosts[s.from : s.from+size])
		s.at.Store(-1)
		if n == 0 {
			s.client.Hosts = configs
		} else {
			s.client.SetHosts(configs)
		}
		s.at.Store(int64(s.from))
		if err := do(size); err != nil {
			if s.from == 0 {
				return err // nothing has run
			}
			s.c.screen.Message("fleetssh: error: " + err.Error())
			s.tally.Trouble = true
			break
		}
		s.from += size
		if s.stopped = s.tooMany(n, sizes); s.stopped != "" || ctx.Err() != nil {
			break
		}
		if n+1 < len(sizes) {
			s.rest(ctx, n, len(sizes))
		}
	}
	for i := s.from; i < len(s.hosts); i++ {
		left(s.tally.Put(results.Result{Index: i, Outcome: fleetssh.Outcome{Kind: fleetssh.Skipped}}))
	}
	if s.tally.Unbegun() > 0 {
		s.tally.Stopped = s.stopped
	}
	return nil
}

// working returns what the hosts of the batch are doing.
func (s *rollout) working() []fleetssh.Progress {
	from := int(s.at.Load())
	if from < 0 {
		return nil
	}
	work := s.client.Working()
	for i := range work {
		work[i].Host += from
	}
	return work
}

// tooMany says why no more hosts are begun after batch number n: more hosts have failed than may, or
// all of the first batch, which was there to find that out. It is empty if the next batch may run.
func (s *rollout) tooMany(n int, sizes []int) string {
	failed := s.tally.Failed()
	batch := fmt.Sprintf("batch %d of %d", n+1, len(sizes))
	switch {
	case s.safety.batch != "" && n == 0 && len(sizes) > 1 && failed == sizes[0]:
		if failed == 1 {
			return batch + " failed on its only host"
		}
		return fmt.Sprintf("%s failed on all of its %d hosts", batch, failed)
	case !s.limited || failed <= s.most:
		return ""
	case s.safety.maxFail == "":
		return fmt.Sprintf("%s failed in %s", selection.CountHosts(failed), batch)
	}
	text := fmt.Sprintf("%s failed, --max-fail %s allows %d", selection.CountHosts(failed), s.safety.maxFail, s.most)
	if from := s.c.settings.Origin("max-fail"); from != "" {
		text += " (" + from + ")"
	}
	return text
}

// rest waits between two batches.
func (s *rollout) rest(ctx context.Context, n, batches int) {
	if s.safety.pause == 0 {
		return
	}
	s.c.screen.Message(fmt.Sprintf("fleetssh: batch %d of %d is done, waiting %v", n+1, batches, s.safety.pause))
	select {
	case <-time.After(s.safety.pause):
	case <-ctx.Done():
	}
}

// finish reports what ended the work early, calls show for the totals, and ends the record. It
// returns the error that ends the program. ctx is the context of the program.
func (s *rollout) finish(ctx, work context.Context, show func()) error {
	t := s.tally
	t.Interrupted = ctx.Err() != nil
	if s.c.done != nil {
		s.c.done(t)
	}
	if err := s.c.screen.Failure(); err != nil && !t.Interrupted {
		return exit.OutputError(err)
	}
	s.c.warnings.Show(s.c.screen)
	if t.Stopped != "" {
		s.c.screen.Message("fleetssh: stopped: " + t.Stopped)
	}
	if work.Err() == context.DeadlineExceeded {
		s.c.screen.Message("fleetssh: stopped: the deadline of " + results.ShortDuration(s.safety.deadline) + " has passed")
	}
	show()
	return s.record.Finish()
}

// runner runs a command on hosts, batch after batch, and shows what happens.
type runner struct {
	rollout
	o       *runOptions
	command fleetssh.Command
	title   string          // the command as the user gave it
	instead journal.Instead // what is run instead of a command line
	script  *localScript    // nil: none
	stdin   io.Reader       // for all hosts; nil: none
	show    display.Display
}

// run runs the command on all hosts.
func (r *runner) run(ctx context.Context, sizes []int) error {
	work, end, err := r.rollout.begin(ctx, r.o.hosts.Fanout)
	if err != nil {
		return err
	}
	defer end()
	r.o.hosts.Protect(r.c.env(), r.client)
	defer boundMemory(memoryBase, r.o.hosts.Fanout)()
	again, err := r.rewindable(len(sizes))
	if err != nil {
		return err
	}
	defer again.close()
	r.tally.SudoMute = (r.command.Sudo || r.command.User != "") && r.command.SudoPassword == nil
	endDisplay := func() {}
	defer func() { endDisplay() }()
	err = r.batches(work, sizes, func(size int) error {
		events, err := r.start(work, again, size)
		if err != nil {
			return err
		}
		if r.show == nil {
			r.o.record.Simulated = r.c.place != nil
			r.record = r.o.record.Begin(r.c.screen, r.tally, journal.Start{Command: r.title, Instead: r.instead})
			r.show, endDisplay = r.o.show.Display(display.View{Screen: r.c.screen, Tally: r.tally, Command: r.title, Keep: r.record.Over})
		}
		for ev := range events {
			ev.Host += r.from
			if ev.Kind == fleetssh.Finished {
				r.show.Finished(r.tally.Add(ev))
				continue
			}
			r.show.Show(ev)
		}
		return nil
	}, func(left *results.Result) { r.show.Finished(left) })
	if err != nil {
		return err
	}
	return r.finish(ctx, work, r.show.Close)
}

// start starts the command on a batch.
func (r *runner) start(ctx context.Context, again *rewinder, size int) (func(func(fleetssh.Event) bool), error) {
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

// rewinder gives every batch the same standard input.
type rewinder struct {
	in   io.Reader // for the only batch
	file *os.File  // for several
}

// rewindable returns the standard input for a number of batches. If there are several, it is copied
// to a file first.
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

// reader returns the input from its beginning. It is nil if there is none.
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
		_ = os.Remove(w.file.Name()) // it is in the directory for temporary files
	}
}
