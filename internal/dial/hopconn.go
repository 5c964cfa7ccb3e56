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

// throughHop connects to the host through its Proxy.
func (a *attempt) throughHop(ctx context.Context) (*hopConn, error) {
	a.phases.enter(phaseProxy)
	p, err := a.d.hops.to(ctx, a.host.Proxy)
	if err != nil {
		return nil, err
	}
	a.d.debug("connecting through a hop", a.host, "hop", a.host.Proxy.Name)
	// The hop has its own time-outs.
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

// lostHop returns the failure for a hop whose connection ended during the attempt.
func (a *attempt) lostHop() *Failure {
	f := a.hopFailure(a.host.Proxy.failure(NotConnected, phaseForward, &conn.Error{Text: "connection lost", Err: errHopLost}))
	f.Retryable = true
	return f
}

// hopEndGrace is how long to wait, after a connection through a hop has ended, for the connection
// to the hop to end too. On a busy machine its end may show later.
const hopEndGrace = 500 * time.Millisecond

// hopEnded reports whether the cause of err is that the connection to the hop ended.
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

// hopFailure returns the failure for a hop that failed. If err is that of a hop further ahead, it
// names that one.
func (a *attempt) hopFailure(err error) *Failure {
	f := a.host.failure(HopFailed, phaseProxy, err)
	f.Hop = a.host.Proxy.Name
	if ahead, ok := err.(*Failure); ok && ahead.Kind == HopFailed {
		f.Hop, f.Err = ahead.Hop, ahead.Err
	}
	return f
}

// notForwarded returns the failure for a channel that the hop did not open. It is a failure of
// the host if the hop tried and could not reach it, and of the hop otherwise.
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

// isUnresolved reports whether the text of a hop means that it cannot resolve a name. sshd sends
// only the text of the C library, with no error code.
func isUnresolved(text string) bool {
	text = strings.ToLower(text)
	for _, words := range []string{"name or service not known", "name resolution", "nodename nor servname", "no address associated", "does not resolve", "no such host", "unknown host"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// hopConn is a connection to a host behind a hop. A blocked Read or Write of an SSH library
// channel ends only when the hop answers. Two goroutines therefore copy between the channel and
// pipes, whose reads and writes end with Close. They belong to the connection to the hop.
type hopConn struct {
	in      *io.PipeReader
	out     *io.PipeWriter
	hop     *conn.Conn
	channel ssh.Channel
	stream  *conn.Stream // the stream of channel
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
	c.stream.End() // drops what the hop still sends
	c.hop.CloseSoon(c.channel)
	return nil
}

// LocalAddr returns the address of the connection to the hop.
func (c *hopConn) LocalAddr() net.Addr { return c.hop.Link().LocalAddr() }

// RemoteAddr returns the address of the hop, because the hop does not send that of the host.
func (c *hopConn) RemoteAddr() net.Addr { return c.hop.Link().RemoteAddr() }

// errNoDeadline is the error of setting a deadline on a [hopConn]. The SSH library never does.
var errNoDeadline = errors.New("connections through a hop have no deadlines")

// SetDeadline implements [net.Conn].
func (c *hopConn) SetDeadline(time.Time) error { return errNoDeadline }

// SetReadDeadline implements [net.Conn].
func (c *hopConn) SetReadDeadline(time.Time) error { return errNoDeadline }

// SetWriteDeadline implements [net.Conn].
func (c *hopConn) SetWriteDeadline(time.Time) error { return errNoDeadline }
