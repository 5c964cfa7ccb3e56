package fleetssh

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"fleetssh/internal/deadline"
)

// Do calls work for every host, with the connection to it, and returns when all calls have
// returned. Use it for what takes several steps on a host; the other methods are made of the
// same parts. PoolSize hosts are worked on at a time, and begun in the order of Hosts. Calls are on
// goroutines of Do and overlap; i is the index of the host.
//
// The connection is made if there is none, and belongs to the ParallelClient: work must not close
// it. One from an earlier call may turn out to be dead. If it does before work has opened anything
// on it, and work returns that [*ConnectionError], Do connects again and calls work once more.
// The context of work ends with ctx, with Close, and when SetHosts removes the host.
//
// The error is nil if every call has returned nil, and otherwise a [*HostsError] with what each
// host has ended with: the error of connecting to it, as for [Dial], in which case work was not
// called; what work returned; or that the host was skipped. If it is a [*ConfigError], no host
// was contacted.
func (p *ParallelClient) Do(ctx context.Context, work func(ctx context.Context, i int, c *Client) error) error {
	slots, err := p.begin(0)
	if err != nil {
		return err
	}
	return p.each(ctx, slots, func(i int, s *slot) error {
		defer s.work.begin(PhaseConnect)()
		ctx, cancel := s.during(ctx)
		defer cancel()
		var failure error // of work
		link, err := s.use(ctx, p.connectTo(s), func(c *Client) error {
			s.work.enter(PhaseRun)
			opened := c.conn.Opened()
			failure = work(ctx, i, c)
			if c.conn.Opened() != opened {
				return nil // it must not be done twice
			}
			if lost, ok := errors.AsType[*ConnectionError](failure); ok {
				return lost
			}
			return nil
		})
		if p.OneShot {
			s.retireCurrent()
		}
		if link.client != nil { // else it could not be connected to, perhaps for the second call
			err = failure
		}
		return s.told(err)
	}, nil)
}

// Connect connects to every host and logs in. Calling it is optional. The error is
// a [*ConfigError], and then no host was contacted, or a [*HostsError].
func (p *ParallelClient) Connect(ctx context.Context) error {
	slots, err := p.begin(0)
	if err != nil {
		return err
	}
	return p.each(ctx, slots, func(_ int, s *slot) error {
		_, err := s.use(ctx, p.connectTo(s), func(*Client) error { return nil })
		return err
	}, nil)
}

// each is what every method that works on all hosts is made of. It calls work for them, PoolSize
// at a time and in order, until ctx ends, p is closed or, with StopOnError, too many have failed.
// For the rest it calls skip, if that is not nil, with the reason. It returns when all calls
// have: nil, or a [*HostsError].
func (p *ParallelClient) each(ctx context.Context, slots []*slot, work func(i int, s *slot) error, skip func(i int, s *slot, why error)) error {
	size := p.poolSize()
	most := int64(math.MaxInt64)
	if p.StopOnError {
		most = int64(p.MaxFailures)
	}
	var next, failed atomic.Int64
	errs := make([]error, len(slots))
	one := func(i int) error {
		if ctx.Err() == nil && p.ctx.Err() == nil && failed.Load() <= most {
			err := work(i, slots[i])
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
	var wg sync.WaitGroup
	for range min(size, len(slots)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(slots); i = int(next.Add(1)) - 1 {
				errs[i] = one(i)
				if p.HostDone != nil {
					p.HostDone(i, errs[i])
				}
			}
		})
	}
	wg.Wait()
	return hostsError(len(slots), func(i int) (*HostConfig, error) { return &slots[i].host, errs[i] })
}

func (p *ParallelClient) poolSize() int {
	if p.PoolSize == 0 {
		return defaultPoolSize
	}
	return p.PoolSize
}

// errSkipped is why a host was not tried.
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

// connectTo returns how a host is connected to.
func (p *ParallelClient) connectTo(s *slot) func(context.Context) (connected, error) {
	return func(ctx context.Context) (connected, error) { return s.connect(ctx, p.d) }
}

// use calls work with the connection to the host that connect returns, and counts as its user
// meanwhile. If a connection that was there before turns out to be dead when work opens a
// channel, which is why nothing can have run yet, it is replaced and work called again. The error
// is connect's, and then the client of the result is nil, or work's.
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

// isUseless reports whether the next who needs a connection should make a new one, because of
// the error that this one has led to: it has ended, or the host has left a request unanswered.
func (c *Client) isUseless(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	_, timeout := err.(*TimeoutError)
	switch phaseOf(err) {
	case PhaseForward, PhaseListen:
		// What is behind the host may be slow. The end of the connection is told by those who
		// watch it for the tunnels, which they do not if it is retired before.
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
