package fleetssh

import (
	"context"
	"io"
	"time"

	"fleetssh/internal/conn"
	"fleetssh/internal/tunnel"
)

// aliveTimeout is how long a host that has left a request unanswered may take to show that its
// connection is alive.
const aliveTimeout = 5 * time.Second

// reconnector connects the tunnels of a [ParallelClient] to one host. It uses the existing
// connection, or makes a new one.
type reconnector struct {
	slot      *slot
	d         *dialer
	connector *tunnel.Connector
}

// reconnector returns the reconnector of the host, which all its tunnels share.
func (s *slot) reconnector(d *dialer) *reconnector {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnels == nil {
		s.tunnels = &reconnector{slot: s, d: d, connector: tunnel.NewConnector(s.host, d.reportTunnel)}
	}
	return s.tunnels
}

// open opens a channel to an address behind the host.
func (r *reconnector) open(ctx context.Context, to tunnel.Address) (channel *tunnelChannel, err error) {
	_, err = r.slot.use(ctx, r.connect, func(c *Client) (err error) {
		channel, err = c.openTunnel(ctx, to)
		return err
	})
	return channel, err
}

// targetDialer returns a dialer that opens channels to addresses behind the host.
func (r *reconnector) targetDialer() tunnel.Dialer {
	return tunnel.Dialer{Host: r.slot.host, Dial: opener(r.open)}
}

// listen asks the host to listen, and connects its clients to an address on this side. The
// tunnel ends with the connection.
func (r *reconnector) listen(ctx context.Context, at, to tunnel.Address) (t *tunnel.Tunnel, err error) {
	_, err = r.slot.use(ctx, r.connect, func(c *Client) (err error) {
		t, err = c.listen(ctx, at, forwardTo(to))
		return err
	})
	return t, err
}

// connect returns the connection to the host, as [slot.connect] does. The connector limits how
// often an unreachable host is tried.
func (r *reconnector) connect(ctx context.Context) (link connected, err error) {
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

// watch reports the loss of a connection. It reports nothing if the connection was closed on
// purpose.
func (r *reconnector) watch(c *Client) {
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

// alive reports whether the host answers. It does not ask a master, which answers itself and
// notices on its own when its connection has ended.
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
