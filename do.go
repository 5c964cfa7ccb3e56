package fleetssh

import (
	"context"
	"errors"
	"math"
	"sync/atomic"

	"fleetssh/internal/deadline"
	"fleetssh/internal/turns"
)

// Do calls work for every host with the connection to it, and returns when all calls have
// returned. Use it for work that takes several steps on a host. Do works on PoolSize hosts at a
// time and begins them in the order of Hosts. The calls run on goroutines of Do and overlap; i is
// the index of the host.
//
// Do connects to a host if there is no connection yet. The connection belongs to the
// ParallelClient: work must not close it. A connection from an earlier call may turn out to be
// dead. If work returns that [*ConnectionError] and has not opened anything on the connection, Do
// connects again and calls work once more. The context of work ends with ctx, with Close, and
// when SetHosts removes the host.
//
// The error is nil if every call has returned nil, and otherwise a [*HostsError]. It holds the
// error of connecting to a host, as for [Dial] (work was not called then), the error that work
// returned, or the reason why the host was skipped. If the error is a [*ConfigError], no host was
// contacted.
func (p *ParallelClient) Do(ctx context.Context, work func(ctx context.Context, i int, c *Client) error) error {
	slots, err := p.begin(0)
	if err != nil {
		return err
	}
	return p.each(ctx, slots, func(ctx context.Context, i int, s *slot) error {
		defer s.work.begin(PhaseConnect)()
		ctx, cancel := s.during(ctx)
		defer cancel()
		var failure error // of work
		link, err := s.use(ctx, p.connectTo(s), func(c *Client) error {
			s.work.enter(PhaseRun)
			opened := c.conn.Opened()
			failure = work(ctx, i, c)
			if c.conn.Opened() != opened {
				return nil // work may have had an effect and must not run twice
			}
			if lost, ok := errors.AsType[*ConnectionError](failure); ok {
				return lost
			}
			return nil
		})
		if p.OneShot {
			s.retireCurrent()
		}
		if link.client != nil { // nil: connecting failed, perhaps before the second call
			err = failure
		}
		return s.withReason(err)
	}, nil)
}

// Connect connects to every host and logs in. Calling it is optional. The error is a
// [*ConfigError] (no host was contacted) or a [*HostsError].
func (p *ParallelClient) Connect(ctx context.Context) error {
	slots, err := p.begin(0)
	if err != nil {
		return err
	}
	return p.each(ctx, slots, func(ctx context.Context, _ int, s *slot) error {
		_, err := s.use(ctx, p.connectTo(s), func(*Client) error { return nil })
		return err
	}, nil)
}

// each calls work for all hosts, PoolSize at a time and in order, until ctx ends, p is closed or,
// with StopOnError, too many hosts have failed. For the remaining hosts it calls skip, if that is
// not nil, with the reason. It returns when all calls have returned. The error is nil or a
// [*HostsError]. Every method that works on all hosts is built on it. While a host waits for the
// user, another one takes its place; for that, work must use the context that it gets.
func (p *ParallelClient) each(ctx context.Context, slots []*slot, work func(ctx context.Context, i int, s *slot) error, skip func(i int, s *slot, why error)) error {
	most := int64(math.MaxInt64)
	if p.StopOnError {
		most = int64(p.MaxFailures)
	}
	var next, failed atomic.Int64
	errs := make([]error, len(slots))
	one := func(i int, t *turns.Turn) error {
		if ctx.Err() == nil && p.ctx.Err() == nil && failed.Load() <= most {
			err := work(turns.With(ctx, t), i, slots[i])
			if err != nil {
				failed.Add(1)
			}
			return err
		}
		why := p.skipped(ctx)
		if skip != nil {
			skip(i, slots[i], why)
		}
		return why
	}
	var pool turns.Turns
	pool.Run(min(p.poolSize(), len(slots)), func(t *turns.Turn) (more bool) {
		i := int(next.Add(1)) - 1
		if i >= len(slots) {
			return false
		}
		errs[i] = one(i, t)
		if p.HostDone != nil {
			p.HostDone(i, errs[i])
		}
		return true
	})
	return hostsError(len(slots), func(i int) (*HostConfig, error) { return &slots[i].host, errs[i] })
}

func (p *ParallelClient) poolSize() int {
	if p.PoolSize == 0 {
		return defaultPoolSize
	}
	return p.PoolSize
}

// errSkipped is the reason why a host was not tried.
var errSkipped = errors.New("skipped")

// skipped returns why a host was left out of a call: p is closed, ctx has ended, or too many
// hosts have failed.
func (p *ParallelClient) skipped(ctx context.Context) error {
	if ctx.Err() == nil && p.ctx.Err() != nil {
		ctx = p.ctx
	}
	if cause := deadline.Cause(ctx); cause != nil {
		return joinErrors([]error{errSkipped, cause})
	}
	return errSkipped
}

// hostsError collects the errors of n hosts. It is nil if there is none.
func hostsError(n int, of func(i int) (*HostConfig, error)) error {
	var failed []HostFailure
	for i := range n {
		if host, err := of(i); err != nil {
			failed = append(failed, HostFailure{Index: i, Host: host.name(), Err: err})
		}
	}
	if failed == nil {
		return nil
	}
	return &HostsError{Failed: failed, Total: n}
}

// connectTo returns a function that connects to the host.
func (p *ParallelClient) connectTo(s *slot) func(context.Context) (connected, error) {
	return func(ctx context.Context) (connected, error) { return s.connect(ctx, p.d) }
}

// use calls work with the connection to the host that connect returns, and counts as a user of the
// connection meanwhile. An older connection may turn out to be dead when work opens a channel.
// Nothing can have run in that case: use connects again and repeats work. The error is that of
// connect (the client of the result is nil then) or that of work.
func (s *slot) use(ctx context.Context, connect func(context.Context) (connected, error), work func(*Client) error) (connected, error) {
	for {
		link, err := connect(ctx)
		if err != nil {
			return link, err
		}
		c := link.client
		err = work(c)
		useless := c.isUseless(ctx, err)
		c.conn.Leave()
		if useless {
			s.retire(c)
		}
		if !link.reused || !c.wasDead(err) || ctx.Err() != nil {
			return link, err
		}
	}
}

// isUseless reports whether err means that the connection must not be used again: it has ended, or
// the host has left a request unanswered.
func (c *Client) isUseless(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	_, timeout := err.(*TimeoutError)
	switch phaseOf(err) {
	case PhaseForward, PhaseListen:
		// The service behind the host may be slow. If the connection has ended, the tunnels that
		// watch it report that; they could not if it were retired first.
		return timeout && ctx.Err() == nil && !c.alive(ctx)
	case PhaseOpen, PhasePTY, PhaseExec, PhaseShell, PhaseSubsystem:
		return timeout || c.conn.IsDone()
	}
	return c.conn.IsDone()
}

// wasDead reports whether err means that a channel could not be opened because the connection
// has ended.
func (c *Client) wasDead(err error) bool {
	switch e := err.(type) {
	case *ConnectionError:
		return e.Phase == PhaseOpen || e.Phase == PhaseForward && c.conn.IsDone()
	case *TimeoutError:
		return e.Phase == PhaseForward && c.conn.IsDone()
	}
	return false
}
