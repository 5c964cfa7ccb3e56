package fleetssh

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// closeLinger is for how long what was written before Close may still be on its way.
const closeLinger = 5 * time.Second

// DialContext connects from the host to addr: "host:port" with the network "tcp", or
// the path of a socket with "unix". Names are looked up by the host. It fits
// [net/http.Transport] and everything else that takes a dial function. The connection
// outlives ctx, which bounds the call, as HostConfig.ConnectTimeout does.
//
// The connection has deadlines, and a method CloseWrite. Its Read returns [io.EOF] only
// if the other side has ended the connection: one that is lost is an error. What was
// written before Close is sent, for up to five seconds.
//
// The error is a [*SessionError] if the host does not connect to the address, or a
// [*ConfigError], [*TimeoutError] or [*ConnectionError].
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := dialTarget(network, addr)
	if err != nil {
		return nil, err
	}
	ch, err := c.openTunnel(ctx, to)
	if err != nil {
		return nil, err
	}
	return ch.conn(context.Background(), to)
}

// dialTarget returns what the arguments of a dial function mean.
func dialTarget(network, addr string) (endpoint, error) {
	switch network {
	case "tcp":
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return endpoint{}, &ConfigError{Host: -1, Field: "addr", Reason: err.Error()}
		}
	case "unix":
		addr = "unix:" + addr
	default:
		return endpoint{}, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	return parseTarget(addr)
}

// tunnelConn is a connection to somewhere behind a host. The SSH library's channel ends
// a Read or Write that waits only when the host says so, and has no deadlines; pipes
// that have stand in between.
type tunnelConn struct {
	in, out    net.Conn // the user's ends
	closed     chan struct{}
	closeOnce  sync.Once
	local      net.Addr
	remote     net.Addr
	mu         sync.Mutex // protects what follows
	err        error      // why nothing more comes or goes, if not in order
	wroteClose bool
}

// conn returns the channel as a connection, which is closed when ctx ends.
func (ch *tunnelChannel) conn(ctx context.Context, to endpoint) (*tunnelConn, error) {
	in, fromHost := net.Pipe()
	out, toHost := net.Pipe()
	c := &tunnelConn{in: in, out: out, closed: make(chan struct{}), local: ch.client.link().LocalAddr(), remote: to.addr()}
	ok := ch.client.spawn(func() {
		defer ch.leave()
		var wg sync.WaitGroup
		sent, received := make(chan struct{}), make(chan struct{})
		wg.Go(func() {
			defer close(received)
			_ = carry(fromHost, ch.Channel) // Read says why it has ended
			if ch.client.broken() {
				c.fail(ch.client.lostTunnel())
			}
			fromHost.Close()
		})
		wg.Go(func() {
			defer close(sent)
			from := &noting{Reader: toHost}
			_ = carry(ch.Channel, from) // Write says why it has ended
			if from.err != nil {
				ch.CloseWrite()
			}
		})
		c.serve(ctx, ch, sent)
		if ch.client.broken() {
			c.fail(ch.client.lostTunnel())
		}
		toHost.Close()
		select {
		case <-received: // by whoever reads
		case <-c.closed:
		case <-ch.client.done:
			c.fail(ch.client.lostTunnel())
		}
		fromHost.Close()
		wg.Wait()
	})
	if !ok {
		ch.abandon()
		return nil, ch.client.lostTunnel()
	}
	return c, nil
}

// serve returns when the host has closed the channel, which is closed here when the
// user has closed the connection and what was written is sent.
func (c *tunnelConn) serve(ctx context.Context, ch *tunnelChannel, sent <-chan struct{}) {
	closed, over := c.closed, ctx.Done()
	var late <-chan time.Time
	var flushed <-chan struct{}
	for {
		select {
		case req, ok := <-ch.requests:
			if !ok {
				return
			}
			req.Reply(false, nil)
			continue
		case <-over:
			over = nil
			c.Close()
			continue
		case <-closed:
			closed, flushed = nil, sent
			timer := time.NewTimer(closeLinger)
			defer timer.Stop()
			late = timer.C
			continue
		case <-flushed:
		case <-late:
		}
		ch.closeSoon()
		ssh.DiscardRequests(ch.requests)
		return
	}
}

// fail notes why the connection has ended.
func (c *tunnelConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// Read implements [net.Conn].
func (c *tunnelConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.in.Read(p)
	if err == nil {
		return n, nil
	}
	c.mu.Lock()
	failure := c.err
	c.mu.Unlock()
	switch {
	case errors.Is(err, io.ErrClosedPipe):
		err = net.ErrClosed
	case errors.Is(err, io.EOF) && failure != nil:
		err = failure
	case errors.Is(err, io.EOF):
		return n, io.EOF
	}
	return n, c.opError("read", err)
}

// Write implements [net.Conn].
func (c *tunnelConn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.out.Write(p)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.ErrClosedPipe) {
		c.mu.Lock()
		failure, ended := c.err, c.wroteClose
		c.mu.Unlock()
		switch {
		case isClosed(c.closed):
			err = net.ErrClosed
		case ended || failure == nil:
			err = syscall.EPIPE
		default:
			err = failure
		}
	}
	return n, c.opError("write", err)
}

// opError returns an error as those of package net are.
func (c *tunnelConn) opError(op string, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: op, Net: c.remote.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// CloseWrite tells the other side that nothing more will be written.
func (c *tunnelConn) CloseWrite() error {
	c.mu.Lock()
	c.wroteClose = true
	c.mu.Unlock()
	return c.out.Close()
}

// Close implements [net.Conn].
func (c *tunnelConn) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.closeOnce.Do(func() {
		close(c.closed)
		c.in.Close()
		c.out.Close()
		err = nil
	})
	return err
}

// LocalAddr returns that of the connection to the host.
func (c *tunnelConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address that was asked for.
func (c *tunnelConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn].
func (c *tunnelConn) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

// SetReadDeadline implements [net.Conn].
func (c *tunnelConn) SetReadDeadline(at time.Time) error {
	return c.deadlineError(c.in.SetReadDeadline(at))
}

// SetWriteDeadline implements [net.Conn].
func (c *tunnelConn) SetWriteDeadline(at time.Time) error {
	return c.deadlineError(c.out.SetWriteDeadline(at))
}

func (c *tunnelConn) deadlineError(err error) error {
	if err == nil || !isClosed(c.closed) {
		return nil // that one direction has ended does not keep the other from having one
	}
	return c.opError("set", net.ErrClosed)
}
