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
	c          *app
	safety     *safetyFlags
	hosts      []selection.Host
	client     *fleetssh.ParallelClient
	summary    *results.Summary
	record     *record.Recorder // made before the first host begins
	from       int              // index of the first host of the batch
	activeFrom atomic.Int64     // the same for those who ask who is at work; negative: between two batches
	stdinUsed  bool             // standard input is for the hosts

	maxFailed int // hosts that may fail
	limited   bool
	stopped   string // what ended the batches early, if too many hosts failed
}

// start prepares what all batches share. The work must be done with the context that it returns, and
// end must be called after it.
func (s *rollout) start(ctx context.Context, fanout int) (work context.Context, end func(), err error) {
	s.maxFailed, s.limited, err = s.safety.failureLimit(len(s.hosts))
	if err != nil {
		return nil, nil, err
	}
	work, stop := s.c.workContext(ctx)
	cancel := context.CancelFunc(func() {})
	if s.safety.deadline > 0 {
		work, cancel = context.WithTimeout(work, s.safety.deadline)
	}
	s.client = &fleetssh.ParallelClient{PoolSize: fanout, OneShot: true, StopOnError: s.limited, Logger: slog.New(s.c.warnings)}
	s.client.BeforeStart = func(i int) { s.record.HostStarted(s.from + i) }
	s.summary = results.New(s.hosts)
	s.summary.Policy = s.safety.exitPolicy
	s.summary.Outstanding.Working = s.working
	unwatch := s.c.reportOnRequest(ctx, s.summary.Outstanding, s.stdinUsed)
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

// runBatches calls do for each batch, whose first host is s.from, until too many hosts have failed or
// ctx ends. It then calls left for each host that was never begun.
func (s *rollout) runBatches(ctx context.Context, sizes []int, do func(size int) error, left func(*results.Result)) error {
	for n, size := range sizes {
		s.client.MaxFailures = max(s.maxFailed-s.summary.Failed(), 0)
		configs := selection.Configs(s.hosts[s.from : s.from+size])
		s.activeFrom.Store(-1)
		if n == 0 {
			s.client.Hosts = configs
		} else {
			s.client.SetHosts(configs)
		}
		s.activeFrom.Store(int64(s.from))
		if err := do(size); err != nil {
			if s.from == 0 {
				return err // nothing has run
			}
			s.c.screen.Message("fleetssh: error: " + err.Error())
			s.summary.LocalError = true
			break
		}
		s.from += size
		if s.stopped = s.stopReason(n, sizes); s.stopped != "" || ctx.Err() != nil {
			break
		}
		if n+1 < len(sizes) {
			s.pause(ctx, n, len(sizes))
		}
	}
	for i := s.from; i < len(s.hosts); i++ {
		left(s.summary.AddResult(results.Result{Index: i, Outcome: fleetssh.Outcome{Kind: fleetssh.Skipped}}))
	}
	if s.summary.Skipped() > 0 {
		s.summary.Stopped = s.stopped
	}
	return nil
}

// working returns what the hosts of the batch are doing.
func (s *rollout) working() []fleetssh.Progress {
	from := int(s.activeFrom.Load())
	if from < 0 {
		return nil
	}
	work := s.client.Working()
	for i := range work {
		work[i].Index += from
	}
	return work
}

// stopReason says why no more hosts are begun after batch number n: more hosts have failed than may, or
// all of the first batch, which was there to find that out. It is empty if the next batch may run.
func (s *rollout) stopReason(n int, sizes []int) string {
	failed := s.summary.Failed()
	batch := fmt.Sprintf("batch %d of %d", n+1, len(sizes))
	switch {
	case s.safety.batch != "" && n == 0 && len(sizes) > 1 && failed == sizes[0]:
		if failed == 1 {
			return batch + " failed on its only host"
		}
		return fmt.Sprintf("%s failed on all of its %d hosts", batch, failed)
	case !s.limited || failed <= s.maxFailed:
		return ""
	case s.safety.maxFail == "":
		return fmt.Sprintf("%s failed in %s", selection.CountHosts(failed), batch)
	}
	text := fmt.Sprintf("%s failed, --max-fail %s allows %d", selection.CountHosts(failed), s.safety.maxFail, s.maxFailed)
	if from := s.c.settings.Origin("max-fail"); from != "" {
		text += " (" + from + ")"
	}
	return text
}

// pause waits between two batches.
func (s *rollout) pause(ctx context.Context, n, batches int) {
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
	t := s.summary
	t.Interrupted = ctx.Err() != nil
	if s.c.afterRun != nil {
		s.c.afterRun(t)
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
	program journal.Program // what is run instead of a command line
	script  *localScript    // nil: none
	stdin   io.Reader       // for all hosts; nil: none
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
	endDisplay := func() {}
	defer func() { endDisplay() }()
	err = r.runBatches(work, sizes, func(size int) error {
		events, err := r.startBatch(work, again, size)
		if err != nil {
			return err
		}
		if r.show == nil {
			r.o.record.Simulated = r.c.redirect != nil
			r.record = r.o.record.Start(r.c.screen, r.summary, journal.Start{Command: r.title, Program: r.program})
			r.show, endDisplay = r.o.show.Display(display.View{Screen: r.c.screen, Summary: r.summary, Command: r.title, Record: r.record.Wrap})
		}
		for ev := range events {
			ev.Index += r.from
			if ev.Kind == fleetssh.Finished {
				r.show.Finished(r.summary.Add(ev))
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

// batchStdin gives every batch the same standard input.
type batchStdin struct {
	in   io.Reader // for the only batch
	file *os.File  // for several
}

// newBatchStdin returns the standard input for a number of batches. If there are several, it is copied
// to a file first.
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

// reader returns the input from its beginning. It is nil if there is none.
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
		_ = os.Remove(w.file.Name()) // it is in the directory for temporary files
	}
}
