package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"fleetssh"
)

// course is work on hosts, batch after batch, with the care that was asked for.
type course struct {
	c      *call
	care   *careFlags
	hosts  []hostEntry
	client *fleetssh.ParallelClient
	tally  *tally
	record *recorder // made before the first host begins
	from   int       // index of the first host of the batch

	most    int // hosts that may fail
	limited bool
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
	s.client.BeforeStart = func(i int) { s.record.begins(s.from + i) }
	s.tally = newTally(s.hosts)
	s.tally.policy = s.care.exitPolicy
	return work, func() {
		if s.record != nil {
			s.record.close()
		}
		s.client.Close()
		cancel()
		stop()
	}, nil
}

// batches calls do for each batch, s.from being its first host, until too many hosts have
// failed or ctx ends, and left for each host that was never begun.
func (s *course) batches(ctx context.Context, sizes []int, do func(size int) error, left func(*result)) error {
	for n, size := range sizes {
		s.client.MaxFailures = max(s.most-s.tally.failed(), 0)
		configs := configsOf(s.hosts[s.from : s.from+size])
		if n == 0 {
			s.client.Hosts = configs
		} else {
			s.client.SetHosts(configs)
		}
		if err := do(size); err != nil {
			return err
		}
		s.from += size
		s.tally.overBudget = s.tally.overBudget || s.limited && s.tally.failed() > s.most
		if s.tally.overBudget || ctx.Err() != nil {
			break
		}
		if n+1 < len(sizes) {
			s.rest(ctx, n, len(sizes))
		}
	}
	for i := s.from; i < len(s.hosts); i++ {
		left(s.tally.put(result{index: i, outcome: fleetssh.Outcome{Kind: fleetssh.Skipped}}))
	}
	return nil
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
	t.interrupted = ctx.Err() != nil
	if s.c.done != nil {
		s.c.done(t)
	}
	if err := s.c.screen.Failure(); err != nil && !t.interrupted {
		return outputError(err)
	}
	s.c.warnings.show(s.c.screen)
	if t.overBudget {
		s.c.screen.Message("fleetssh: stopped: more hosts failed than --max-fail allows")
	}
	if work.Err() == context.DeadlineExceeded {
		s.c.screen.Message("fleetssh: stopped: the deadline is over after " + shortDuration(s.care.deadline))
	}
	show()
	return s.record.finish()
}
