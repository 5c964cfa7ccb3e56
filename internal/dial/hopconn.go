package dial

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
	"fleetssh/internal/sanitize"
	"fleetssh/internal/transport"
)

// throughHop makes a connection to the host through its Proxy.
func (a *attempt) throughHop(ctx context.Context) (*hopConn, error) {
	a.phases.enter(phaseProxy)
	p, err := a.d.hops.to(ctx, a.host.Proxy)
	if err != nil {
		return nil, err
	}
	// The hop has time-outs of its own.
	resume := a.clock.Pause()
	hop, err := p.connect(ctx, a.d)
	resume()
	if err != nil {
		if ctx.Err() != nil {
			return nil, deadline.Cause(ctx)
		}
		return nil, a.hopFailure(err)
	}
	a.phases.enter(phaseConnect)
	conn, err := p.openChannel(ctx, hop.Conn, a.host, a.clock)
	switch refused, isRefused := errors.AsType[*ssh.OpenChannelError](err); {
	case err == nil:
		a.hop = hop
		return conn, nil
	case ctx.Err() != nil:
		return nil, deadline.Cause(ctx)
	case isRefused:
		return nil, a.notForwarded(refused)
	}
	return nil, a.lostHop()
}

// lostHop is the failure of a hop whose connection has ended while it was needed.
func (a *attempt) lostHop() *Failure {
	f := a.hopFailure(a.host.Proxy.failure(NotConnected, phaseForward, &conn.Error{Text: "connection lost", Err: errHopLost}))
	f.Own = true
	return f
}

// hopEndGrace is how much later than the connections through it the end of a hop may
// show, if this machine is busy.
const hopEndGrace = 500 * time.Millisecond

// hopEnded reports whether err comes from the end of the connection to the hop.
func (a *attempt) hopEnded(err error) bool {
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) || errors.Is(err, errBroken)
	if a.hop == nil || !ended {
		return false
	}
	if a.hop.Conn.Failed() {
		return true
	}
	timer := time.NewTimer(hopEndGrace)
	defer timer.Stop()
	select {
	case <-a.hop.Conn.Done():
		return true
	case <-timer.C:
		return false
	}
}

// hopFailure says that a hop failed: the one in front of the host, or one in front of that.
func (a *attempt) hopFailure(err error) *Failure {
	f := a.host.failure(HopFailed, phaseProxy, err)
	f.Hop = a.host.Proxy.Name
	if before, ok := err.(*Failure); ok && before.Kind == HopFailed {
		f.Hop, f.Err = before.Hop, before.Err
	}
	return f
}

// notForwarded returns the failure for a channel that the hop did not open: the hop's if it
// would not, and the host's if the hop could not reach it.
func (a *attempt) notForwarded(refused *ssh.OpenChannelError) *Failure {
	text := sanitize.Line(strings.TrimSpace(refused.Message))
	switch refused.Reason {
	case ssh.ConnectionFailed:
		if text == "" {
			text = "the hop cannot connect to it"
		}
		if isUnresolved(text) {
			return a.host.failure(UnknownHost, phaseResolve, errors.New(text))
		}
		return a.host.failure(NotConnected, phaseConnect, errors.New(text))
	case ssh.Prohibited:
		text = "it does not forward connections to " + a.host.address() + " (AllowTcpForwarding, PermitOpen): " + text
	case ssh.UnknownChannelType:
		text = "it does not forward connections: " + text
	default:
		if text == "" {
			text = refused.Reason.String()
		}
	}
	return a.hopFailure(a.host.Proxy.failure(ForwardRefused, phaseForward, errors.New(text)))
}

// isUnresolved reports whether a hop says that it does not know a name. sshd passes on the words
// of the C library and nothing else.
func isUnresolved(text string) bool {
	text = strings.ToLower(text)
	for _, words := range []string{"name or service not known", "name resolution", "nodename nor servname", "no address associated", "does not resolve", "no such host", "unknown host"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// hopConn is a connection to a host behind a hop. A Read or Write of the SSH library's channel
// that waits ends only when the hop says so. Two goroutines of the hop's connection stand in
// between, so that Close ends it too.
type hopConn struct {
	in      *io.PipeReader
	out     *io.PipeWriter
	hop     *conn.Conn
	channel ssh.Channel
	stream  *conn.Stream // of channel
}

// newHopConn returns nil if the connection to the hop is closed.
func newHopConn(hop *conn.Conn, channel ssh.Channel, requests <-chan *ssh.Request) *hopConn {
	in, fromHost := io.Pipe()
	toHost, out := io.Pipe()
	c := &hopConn{in, out, hop, channel, hop.Stream(channel)}
	hop.Enter()
	ok := hop.Go(func() {
		defer hop.Leave()
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
		hop.Leave()
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
	c.hop.CloseSoon(c.channel)
	return nil
}

// LocalAddr returns the address of the connection to the hop.
func (c *hopConn) LocalAddr() net.Addr { return c.hop.Link().LocalAddr() }

// RemoteAddr returns the address of the hop, which does not tell the host's.
func (c *hopConn) RemoteAddr() net.Addr { return c.hop.Link().RemoteAddr() }

// errNoDeadline is why a [hopConn] has no deadlines. The SSH library sets none.
var errNoDeadline = errors.New("connections through a hop have no deadlines")

// SetDeadline implements [net.Conn].
func (c *hopConn) SetDeadline(time.Time) error { return errNoDeadline }

// SetReadDeadline implements [net.Conn].
func (c *hopConn) SetReadDeadline(time.Time) error { return errNoDeadline }

// SetWriteDeadline implements [net.Conn].
func (c *hopConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
