package fleetssh

import (
	"context"
	"io"
	"sync"
	"time"

	"fleetssh/internal/tunnel"
)

// reachMemory is for how long it is remembered that a host could not be reached:
// whoever calls a tunnel meanwhile is told so at once.
const reachMemory = 2 * time.Second

// aliveTimeout is how long a host may take to show that its connection is alive, when
// it has left a request unanswered.
const aliveTimeout = 5 * time.Second

// reach is how the tunnels of a [ParallelClient] get to one host: over the connection
// that there is, or a new one.
type reach struct {
	slot *slot
	d    *dialer
	turn chan struct{} // holds a token while somebody gets the connection

	mu       sync.Mutex // protects what follows
	failed   error      // the last time; forgotten after reachMemory
	failedAt time.Time
	watched  *Client // whose end will be told
	down     bool    // that has been told
}

// reach returns the way of tunnels to the host.
func (s *slot) reach(d *dialer) *reach {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.way == nil {
		s.way = &reach{slot: s, d: d, turn: make(chan struct{}, 1)}
	}
	return s.way
}

// open opens a channel. A connection that turns out to be dead is replaced.
func (r *reach) open(ctx context.Context, to tunnel.Address) (*tunnelChannel, error) {
	for {
		link, err := r.connect(ctx)
		if err != nil {
			return nil, err
		}
		channel, err := link.client.openTunnel(ctx, to)
		dead := err != nil && timedOut(err) && ctx.Err() == nil && !link.client.alive(ctx)
		link.client.leave()
		if err == nil {
			return channel, nil
		}
		if dead {
			r.slot.retire(link.client)
		}
		if !link.reused || !link.client.gone() || ctx.Err() != nil {
			return nil, err
		}
	}
}

// way returns how tunnels get channels from the host.
func (r *reach) way() tunnel.Way { return tunnel.Way{Host: r.slot.host, Open: opener(r.open)} }

// listen has the host listen for a tunnel that ends with the connection.
func (r *reach) listen(ctx context.Context, at, to tunnel.Address) (*tunnel.Tunnel, error) {
	link, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	t, err := link.client.listen(ctx, at, to)
	dead := err != nil && timedOut(err) && ctx.Err() == nil && !link.client.alive(ctx)
	link.client.leave()
	if dead {
		r.slot.retire(link.client)
	}
	return t, err
}

// connect returns the connection to the host, as [slot.connect] does. Those who ask while it is being made share
// what comes of it.
func (r *reach) connect(ctx context.Context) (connected, error) {
	asked := time.Now()
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return connected{}, interrupted(ctx, nil, &r.slot.host, "connect", 0, 0)
	}
	r.mu.Lock()
	failed, at := r.failed, r.failedAt
	r.mu.Unlock()
	if failed != nil && (at.After(asked) || time.Since(at) < reachMemory) {
		return connected{}, failed
	}
	r.d.hops.forgive(reachMemory)
	link, err := r.slot.connect(ctx, r.d)
	if err == nil {
		r.reached(link.client)
	} else if ctx.Err() == nil {
		r.unreachable(err)
	}
	return link, err
}

// reached notes that there is a connection, and has its end told.
func (r *reach) reached(c *Client) {
	r.mu.Lock()
	was, known := r.down, r.watched == c
	r.failed, r.down, r.watched = nil, false, c
	r.mu.Unlock()
	if was {
		r.d.log.Info("connected again", "host", r.slot.host)
	}
	if known {
		return
	}
	c.spawn(func() {
		<-c.done
		r.mu.Lock()
		tell := r.watched == c && !r.down && !c.isClosed() && !c.users.isRetired()
		if tell {
			r.down = true
		}
		r.mu.Unlock()
		if tell {
			r.d.log.Warn("tunnels have lost their connection", "host", r.slot.host, "error", c.lostReason(io.EOF))
		}
	})
}

// unreachable notes that there is no connection.
func (r *reach) unreachable(err error) {
	r.mu.Lock()
	was := r.down
	r.failed, r.failedAt, r.down = err, time.Now(), true
	r.mu.Unlock()
	if !was {
		r.d.log.Warn("tunnels have no connection", "host", r.slot.host, "error", err)
	}
}

// isClosed reports whether the user has closed the client.
func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// alive reports whether the host answers. A master does not hand the question on, and
// notes the end of its connection itself.
func (c *Client) alive(ctx context.Context) bool {
	if c.login.Master != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	before := c.wire.carried()
	err := c.await(ctx, call{do: func() error {
		_, _, err := c.link().SendRequest("keepalive@openssh.com", true, nil)
		return err
	}})
	return err == nil || c.wire.carried()-before >= slowest*int64(aliveTimeout/time.Second) && !c.gone()
}
