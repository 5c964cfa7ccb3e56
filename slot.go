package fleetssh

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"fleetssh/internal/conn"
	"fleetssh/internal/dial"
)

// slot holds the state of one entry of [ParallelClient.Hosts], such as its connection once there is
// one.
type slot struct {
	host HostConfig // never changes: its clients share it

	removed atomic.Bool   // end is about to be called
	dialing chan struct{} // holds a token while a call connects
	work    progress      // of the calls on the host
	mu      sync.Mutex    // protects what follows
	over    error         // conn.ErrClosed, or errRemoved by SetHosts; nil: calls may connect
	calls   []*slotCall   // calls under way that may connect; end cancels them
	client  *Client       // the current connection; nil: none
	retired []*Client     // earlier connections, which may still have users
	tunnels *reconnector  // of the tunnels; nil: there has been no tunnel
}

// slotCall is a call that may connect to the host of a slot.
type slotCall struct{ cancel context.CancelCauseFunc }

func newSlot(host HostConfig) *slot {
	return &slot{host: host, dialing: make(chan struct{}, 1)}
}

// connected is the result of connect.
type connected struct {
	client *Client
	reused bool   // the connection existed before the call
	timing Timing // of the last attempt, also if it failed
}

// connect returns the connection to the host and makes one if there is none. The caller becomes one
// of its users and must call [conn.Conn.Leave].
func (s *slot) connect(ctx context.Context, d *dialer) (connected, error) {
	defer s.work.begin(PhaseConnect)()
	ctx, cancel := s.during(ctx)
	defer cancel()
	select {
	case s.dialing <- struct{}{}:
		defer func() { <-s.dialing }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return connected{}, s.withReason(interrupted(ctx, nil, &s.host, PhaseConnect))
	}
	s.mu.Lock()
	c := s.client
	s.mu.Unlock()
	if c != nil && !c.conn.IsDone() && c.conn.Join() {
		return connected{c, true, c.Timing()}, nil
	}
	if c != nil {
		s.retire(c)
	}
	c, timing, err := d.dial(ctx, &s.host, &s.work)
	if err != nil {
		return connected{timing: timing}, s.withReason(err)
	}
	c.conn.Enter()
	s.mu.Lock()
	over := s.over != nil
	if !over {
		s.client = c
	}
	s.mu.Unlock()
	if over {
		c.Close()
		return connected{timing: timing}, s.withReason(interrupted(ctx, nil, &s.host, PhaseConnect))
	}
	return connected{c, false, timing}, nil
}

// withReason returns the error of connecting that callers get. If the slot has ended, the error
// names the reason: the caller's own context is not cancelled.
func (s *slot) withReason(err error) error {
	s.mu.Lock()
	why := s.over
	s.mu.Unlock()
	if why == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	phase := phaseOf(err)
	if hop := s.host.Proxy; phase == "proxy" && hop != nil {
		lost := &dial.Failure{Host: hop.name(), Port: hop.port(), Phase: dial.Phase(PhaseConnect), Err: why}
		return publicError(&dial.Failure{Kind: dial.HopFailed, Host: s.host.name(), Hop: hop.name(), Err: lost})
	}
	return publicError(&dial.Failure{Host: s.host.name(), Port: s.host.port(), Phase: dial.Phase(phase), Err: why})
}

// during returns a context that ends with ctx and with the slot.
func (s *slot) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	call := &slotCall{cancel}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	if s.over != nil {
		cancel(s.over)
	}
	s.mu.Unlock()
	if s.removed.Load() {
		<-ctx.Done()
	}
	return ctx, func() {
		s.mu.Lock()
		s.calls = slices.DeleteFunc(s.calls, func(c *slotCall) bool { return c == call })
		s.mu.Unlock()
		cancel(nil)
	}
}

// end cancels the calls that may connect to the host, those under way and later ones. The reason of
// the first call of end is kept.
func (s *slot) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return
	}
	s.over = why
	for _, call := range s.calls {
		call.cancel(why)
	}
}

// remove ends the slots of removed hosts. It marks all of them before it ends the first, so that no
// call continues on another removed host.
func remove(slots []*slot, why error) {
	for _, s := range slots {
		s.removed.Store(true)
	}
	endAll(slots, why)
}

func endAll(slots []*slot, why error) {
	for _, s := range slots {
		s.end(why)
	}
}

// retireCurrent retires the current connection, if there is one.
func (s *slot) retireCurrent() {
	s.mu.Lock()
	c := s.client
	s.mu.Unlock()
	if c != nil {
		s.retire(c)
	}
}

// retire makes the next call of connect open a new connection; see [conn.Conn.Retire]. A connection
// without users is closed when retire returns.
func (s *slot) retire(c *Client) {
	c.conn.Retire()
	s.mu.Lock()
	if s.client == c {
		s.client = nil
		s.retired = append(s.retired, c)
	}
	var unused []*Client
	s.retired = slices.DeleteFunc(s.retired, func(c *Client) bool {
		over := c.conn.IsDone() || c.conn.Disused()
		if over {
			unused = append(unused, c)
		}
		return over
	})
	s.mu.Unlock()
	for _, c := range unused {
		c.Close()
	}
}

// close ends the slot and closes all its connections, even those in use.
func (s *slot) close() {
	s.end(conn.ErrClosed)
	s.mu.Lock()
	clients := s.retired
	if s.client != nil {
		clients = append(clients, s.client)
	}
	s.client, s.retired = nil, nil
	s.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
}
