package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// course is work on hosts, batch after batch, with the care that was asked for.
type course struct {
	c      *call
	care   *careFlags
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

// begin makes ready what all batches share. The work is to be done with the context that is
// returned, and end must be called.
func (s *course) begin(ctx context.Context, fanout int) (work context.Context, end func(), err error) {
	s.most, s.limited, err = s.care.budget(len(s.hosts))
	if err != nil {
		return nil, nil, err
	}
	work, stop := s.c.working(ctx)
	cancel := context.CancelFunc(func() {})
	if s.care.deadline > 0 {
		work, cancel = context.WithTimeout(work, s.care.deadline)
	}
	s.client = &fleetssh.ParallelClient{PoolSize: fanout, OneShot: true, StopOnError: s.limited, Logger: slog.New(s.c.warnings)}
	s.client.BeforeStart = func(i int) { s.record.Begins(s.from + i) }
	s.tally = results.New(s.hosts)
	s.tally.Policy = s.care.exitPolicy
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

// batches calls do for each batch, s.from being its first host, until too many hosts have
// failed or ctx ends, and left for each host that was never begun.
func (s *course) batches(ctx context.Context, sizes []int, do func(size int) error, left func(*results.Result)) error {
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

// working returns what is done on the hosts of the batch.
func (s *course) working() []fleetssh.Progress {
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

// tooMany says why no more hosts are begun after batch number n, empty if they are: more of
// them failed than may, or all of the first batch, which was sent ahead to find that out.
func (s *course) tooMany(n int, sizes []int) string {
	failed := s.tally.Failed()
	batch := fmt.Sprintf("batch %d of %d", n+1, len(sizes))
	switch {
	case s.care.batch != "" && n == 0 && len(sizes) > 1 && failed == sizes[0]:
		if failed == 1 {
			return batch + " failed: its only host did"
		}
		return fmt.Sprintf("%s failed: all of its %d hosts did", batch, failed)
	case !s.limited || failed <= s.most:
		return ""
	case s.care.maxFail == "":
		return fmt.Sprintf("%s failed in %s", selection.CountHosts(failed), batch)
	}
	text := fmt.Sprintf("%s failed, --max-fail %s allows %d", selection.CountHosts(failed), s.care.maxFail, s.most)
	if from := s.c.settings.Origin("max-fail"); from != "" {
		text += " (" + from + ")"
	}
	return text
}

// rest waits between two batches.
func (s *course) rest(ctx context.Context, n, batches int) {
	if s.care.pause == 0 {
		return
	}
	s.c.screen.Message(fmt.Sprintf("fleetssh: batch %d of %d is done, waiting %v", n+1, batches, s.care.pause))
	select {
	case <-time.After(s.care.pause):
	case <-ctx.Done():
	}
}

// finish says what ended the work early, has show show the totals, and ends the record. It
// returns what ends the program. ctx is that of the program.
func (s *course) finish(ctx, work context.Context, show func()) error {
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
		s.c.screen.Message("fleetssh: stopped: the deadline is over after " + results.ShortDuration(s.care.deadline))
	}
	show()
	return s.record.Finish()
}
