package fleetssh

import (
	"context"
	"io"
	"time"

	"fleetssh/internal/conn"
	"fleetssh/internal/tunnel"
)

// aliveTimeout is how long a host that has left a request unanswered may take to show that
// its connection is alive.
const aliveTimeout = 5 * time.Second

// reach connects the tunnels of a [ParallelClient] to one host, over the existing connection
// or a new one.
type reach struct {
	slot      *slot
	d         *dialer
	connector *tunnel.Connector
}

// reach returns the way of tunnels to the host.
func (s *slot) reach(d *dialer) *reach {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.way == nil {
		s.way = &reach{slot: s, d: d, connector: tunnel.NewConnector(s.host, d.reportTunnel)}
	}
	return s.way
}

// open opens a channel.
func (r *reach) open(ctx context.Context, to tunnel.Address) (channel *tunnelChannel, err error) {
	_, err = r.slot.use(ctx, r.connect, func(c *Client) (err error) {
		channel, err = c.openTunnel(ctx, to)
		return err
	})
	return channel, err
}

// targetDialer returns what opens channels to addresses behind the host.
func (r *reach) targetDialer() tunnel.Dialer {
	return tunnel.Dialer{Host: r.slot.host, Dial: opener(r.open)}
}

// listen asks the host to listen, and connects callers to an address on this side. The tunnel
// ends with the connection.
func (r *reach) listen(ctx context.Context, at, to tunnel.Address) (t *tunnel.Tunnel, err error) {
	_, err = r.slot.use(ctx, r.connect, func(c *Client) (err error) {
		t, err = c.listen(ctx, at, forwardTo(to))
		return err
	})
	return t, err
}

// connect returns the connection to the host, as [slot.connect] does, through the connector.
func (r *reach) connect(ctx context.Context) (link connected, err error) {
	tried, err := r.connector.Connect(ctx, func() (err error) {
		r.d.forgiveHops(tunnel.FailureMemory)
		link, err = r.slot.connect(ctx, r.d)
		if err == nil {
			r.watch(link.client)
		}
		return err
	})
	if !tried {
		err = interrupted(ctx, nil, &r.slot.host, PhaseConnect)
	}
	return link, err
}

// watch logs the end of a connection, unless it is closed here.
func (r *reach) watch(c *Client) {
	if !r.connector.Connected(c) {
		return
	}
	c.conn.Go(func() {
		<-c.conn.Done()
		if !c.conn.IsClosed() && !c.conn.IsRetired() {
			r.connector.Lost(c, c.conn.LostError(io.EOF))
		}
	})
}

// alive reports whether the host answers. A master does not forward the question; it finds
// out by itself that its connection has ended.
func (c *Client) alive(ctx context.Context) bool {
	if c.login.Master != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	before := c.conn.Carried()
	err := c.conn.Call(ctx, conn.Call{Do: func() error {
		_, _, err := c.conn.Link().SendRequest("keepalive@openssh.com", true, nil)
		return err
	}})
	return err == nil || c.conn.Carried()-before >= conn.MinRate*int64(aliveTimeout/time.Second) && !c.conn.IsDone()
}
