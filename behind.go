package fleetssh

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/dial"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/transport"
)

// throughHop makes a connection to the host through its Proxy.
func (a *attempt) throughHop(ctx context.Context) (*hopConn, error) {
	a.phases.enter("proxy")
	p, err := a.d.hops.to(ctx, a.host.Proxy)
	if err != nil {
		return nil, err
	}
	// The hop has time-outs of its own.
	resume := a.clock.Pause()
	client, err := p.connect(ctx, a.d)
	resume()
	if err != nil {
		if ctx.Err() != nil {
			return nil, deadline.Cause(ctx)
		}
		return nil, a.hopFailure(err)
	}
	a.phases.enter("connect")
	conn, err := p.openChannel(ctx, client, a.host, a.clock)
	switch refused, isRefused := errors.AsType[*ssh.OpenChannelError](err); {
	case err == nil:
		a.hop = client
		return conn, nil
	case ctx.Err() != nil:
		return nil, deadline.Cause(ctx)
	case isRefused:
		return nil, a.behindHop(refused)
	}
	return nil, a.lostHop(client)
}

// lostHop is the error for a hop whose connection has ended while it was needed.
func (a *attempt) lostHop(hop *Client) *dial.Failure {
	f := a.hopFailure(hop.host.failure(dial.NotConnected, "forward", &conn.Error{Text: "connection lost", Err: errHopLost}))
	f.Own = true
	return f
}

// hopEndGrace is how much later than the connections through it the end of a hop may
// show.
const hopEndGrace = 50 * time.Millisecond

// hopEnded reports whether err comes from the end of the connection to the hop.
func (a *attempt) hopEnded(err error) bool {
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) || errors.Is(err, errBroken)
	if a.hop == nil || !ended {
		return false
	}
	if a.hop.conn.Failed() {
		return true
	}
	timer := time.NewTimer(hopEndGrace)
	defer timer.Stop()
	select {
	case <-a.hop.conn.Done():
		return true
	case <-timer.C:
		return false
	}
}

// hopFailure says that a hop failed: the one in front of the host, or one in front
// of that.
func (a *attempt) hopFailure(err error) *dial.Failure {
	f := a.host.failure(dial.HopFailed, "proxy", err)
	f.Hop = a.host.Proxy.name()
	if before, ok := err.(*dial.Failure); ok && before.Kind == dial.HopFailed {
		f.Hop, f.Err = before.Hop, before.Err
	}
	return f
}

// behindHop returns the error for a channel that the hop did not open: its own if
// it would not, and that of the host if it could not reach it.
func (a *attempt) behindHop(refused *ssh.OpenChannelError) error {
	text := sanitize.Line(strings.TrimSpace(refused.Message))
	switch refused.Reason {
	case ssh.ConnectionFailed:
		if text == "" {
			text = "the hop cannot connect to it"
		}
		if isUnresolved(text) {
			return a.host.failure(dial.UnknownHost, "connect", errors.New(text))
		}
		return a.host.failure(dial.NotConnected, "connect", errors.New(text))
	case ssh.Prohibited:
		text = "it does not forward connections to " + hostPort(a.host.Host, a.host.port()) + " (AllowTcpForwarding, PermitOpen): " + text
	case ssh.UnknownChannelType:
		text = "it does not forward connections: " + text
	default:
		if text == "" {
			text = refused.Reason.String()
		}
	}
	return a.hopFailure(a.host.Proxy.failure(dial.ForwardRefused, "forward", errors.New(text)))
}

// isUnresolved reports whether a hop says that it does not know a name, in the
// words of the C library, which is all that sshd hands on.
func isUnresolved(text string) bool {
	text = strings.ToLower(text)
	for _, words := range []string{"name or service not known", "name resolution", "nodename nor servname", "no address associated", "does not resolve", "no such host", "unknown host"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// hopConn is a connection to a host behind a hop. The SSH library's channel ends a
// Read or Write that waits only when the hop says so; two goroutines of the hop's
// client stand in between, so that Close does.
type hopConn struct {
	in      *io.PipeReader
	out     *io.PipeWriter
	hop     *Client
	channel ssh.Channel
	stream  *conn.Stream // of channel
}

// newHopConn returns nil if the hop's client is closed.
func newHopConn(hop *Client, channel ssh.Channel, requests <-chan *ssh.Request) *hopConn {
	in, fromHost := io.Pipe()
	toHost, out := io.Pipe()
	c := &hopConn{in, out, hop, channel, hop.conn.Stream(channel)}
	hop.conn.Enter()
	ok := hop.conn.Go(func() {
		defer hop.conn.Leave()
		var wg sync.WaitGroup
		wg.Go(func() {
			fromHost.CloseWithError(transport.Carry(fromHost, c.stream))
			c.stream.End()
		})
		wg.Go(func() {
			toHost.CloseWithError(transport.Carry(channel, toHost))
			channel.CloseWrite()
		})
		ssh.DiscardRequests(requests)
		wg.Wait()
	})
	if !ok {
		hop.conn.Leave()
		c.Close()
		return nil
	}
	return c
}

// Read implements [net.Conn].
func (c *hopConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write implements [net.Conn].
func (c *hopConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// Close implements [net.Conn]. It does not wait for the hop.
func (c *hopConn) Close() error {
	c.in.CloseWithError(net.ErrClosed)
	c.out.CloseWithError(io.EOF)
	c.stream.End() // whatever the hop still sends
	c.hop.conn.CloseSoon(c.channel)
	return nil
}

// LocalAddr returns the address of the connection to the hop.
func (c *hopConn) LocalAddr() net.Addr { return c.hop.conn.Link().LocalAddr() }

// RemoteAddr returns the address of the hop: it does not tell that of the host.
func (c *hopConn) RemoteAddr() net.Addr { return c.hop.conn.Link().RemoteAddr() }

// errNoDeadline is what [hopConn] lacks. The SSH library sets none.
var errNoDeadline = errors.New("connections through a hop have no deadlines")

// SetDeadline implements [net.Conn].
func (c *hopConn) SetDeadline(time.Time) error { return errNoDeadline }

// SetReadDeadline implements [net.Conn].
func (c *hopConn) SetReadDeadline(time.Time) error { return errNoDeadline }

// SetWriteDeadline implements [net.Conn].
func (c *hopConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
