package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/fullscreen"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// rollout is work on hosts in batches, within the limits of the safety flags.
type rollout struct {
	c          *app
	safety     *safetyFlags
	hosts      []selection.Host
	client     *fleetssh.ParallelClient
	summary    *results.Summary
	record     *record.Recorder // started before the first host
	from       int              // index of the first host of the current batch
	activeFrom atomic.Int64     // the same for working; negative: between two batches
	stdinUsed  bool             // standard input is sent to the hosts
	view       *fullscreen.View // for --ui; nil: none

	batchFold   *display.BatchFold // folds each batch for --step; nil: not needed
	gateArgs    []fleetssh.Args    // values for placeholders in --gate, by host; nil: it has none
	gateTimeout time.Duration      // limit of --gate on a host; zero: none
	ended       int                // how many results belong to earlier batches

	maxFailed int // hosts that may fail
	limited   bool
	stopped   string // why the rollout stopped early; empty: it did not
}

// start prepares what all batches share. The work must use the returned context, and end must be called
// after it.
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

// newView returns the view for --ui. ctx is the context of the program.
func (s *rollout) newView(ctx context.Context, command string, sizes []int, can fullscreen.Abilities) *fullscreen.View {
	can.Report = s.record.ID() != ""
	in, _ := s.c.in.(*os.File) // both were checked
	out, _ := s.c.out.(*os.File)
	s.view = fullscreen.New(fullscreen.Config{
		In: in, Out: out, Screen: s.c.screen, Summary: s.summary, Command: command, Can: can,
		Batches: sizes, Budget: fullscreen.Budget{Limited: s.limited, MaxFailed: s.maxFailed},
		Ended: s.record.End, Report: s.record.SaveReport, Interrupt: func() { interrupt.Press(ctx) }, Done: ctx.Done(),
	})
	return s.view
}

// announceAgain says on which hosts the work is done again.
func (s *rollout) announceAgain(hosts []int) {
	s.c.screen.Message("fleetssh: run again on " + s.summary.Fold(hosts) + fmt.Sprintf(" (%d)", len(hosts)))
}

// runBatches calls do for each batch, whose first host is s.from, until too many hosts have failed or
// ctx ends. Then it calls skipped for each remaining host.
func (s *rollout) runBatches(ctx context.Context, sizes []int, do func(size int) error, skipped func(*results.Result)) error {
	gated := false
	for n, size := range sizes {
		if s.batchFold != nil {
			if err := s.batchFold.Begin(s.from, size); err != nil {
				return err
			}
		}
		s.client.MaxFailures = max(s.maxFailed-s.summary.Failed(), 0)
		configs := selection.Configs(s.hosts[s.from : s.from+size])
		s.activeFrom.Store(-1)
		if n == 0 {
			s.client.Hosts = configs
		} else {
			s.client.SetHosts(configs)
		}
		s.activeFrom.Store(int64(s.from))
		began := time.Now()
		if err := do(size); err != nil {
			if s.from == 0 {
				return err // nothing has run yet
			}
			s.c.screen.Message("fleetssh: error: " + err.Error())
			s.summary.LocalError = true
			break
		}
		s.from += size
		s.batchEnded(n, sizes, began)
		if s.stopped = s.stopReason(n, sizes); s.stopped != "" || ctx.Err() != nil {
			break
		}
		if s.stopped = s.stopAfter(ctx, n, sizes); s.stopped != "" || ctx.Err() != nil {
			gated = s.stopped != ""
			break
		}
		if n+1 < len(sizes) {
			s.pause(ctx, n, len(sizes))
		}
	}
	for i := s.from; i < len(s.hosts); i++ {
		skipped(s.summary.AddResult(results.Result{Index: i, Outcome: fleetssh.Outcome{Kind: fleetssh.Skipped}}))
	}
	if s.summary.Skipped() > 0 || gated { // a gate can fail after the last batch
		s.summary.Stopped = s.stopped
	}
	return nil
}

// batchEnded records how batch number n ended.
func (s *rollout) batchEnded(n int, sizes []int, began time.Time) {
	if s.safety.batch == "" {
		return
	}
	b := journal.Batch{
		Number: n + 1, Batches: len(sizes), Began: began, Hosts: sizes[n],
		OK: len(hostsOK(s.summary.Results[s.ended:])), ElapsedMS: results.Milliseconds(time.Since(began)),
	}
	b.Failed = len(s.summary.Results) - s.ended - b.OK
	s.record.BatchEnded(b)
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

// stopReason returns why the rollout stops after batch number n: too many hosts have failed, or all of
// the first batch. It is empty if the next batch may run.
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

// finish reports why the work ended early, calls show for the totals, and closes the record. It
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
