package tunnel

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

	"fleetssh/internal/transport"
)

// closeLinger bounds how long Close keeps sending what was written before.
const closeLinger = 5 * time.Second

// streamConn is a connection to an address behind a host. A channel of the SSH library has no
// deadlines, and closing it does not interrupt a Read or Write that waits. The in-memory pipes
// between the user and the channel do both.
type streamConn struct {
	in, out    net.Conn // the user's ends of the pipes
	closed     chan struct{}
	closeOnce  sync.Once
	local      net.Addr
	remote     net.Addr
	mu         sync.Mutex // protects what follows
	err        error      // why the connection has failed, or nil
	wroteClose bool
}

// NewConn returns the channel as a connection between two addresses. The connection has deadlines
// and a method CloseWrite, and is closed when ctx ends. Read returns [io.EOF] only if the other
// side has ended the connection. Close continues to send what was written before, for up to five
// seconds. NewConn fails only if the SSH connection is closed.
func NewConn(ctx context.Context, ch Stream, local, remote net.Addr) (net.Conn, error) {
	in, fromHost := net.Pipe()
	out, toHost := net.Pipe()
	c := &streamConn{in: in, out: out, closed: make(chan struct{}), local: local, remote: remote}
	ok := ch.Go(func() {
		defer ch.Leave()
		var wg sync.WaitGroup
		sent, received := make(chan struct{}), make(chan struct{})
		wg.Go(func() {
			defer close(received)
			_ = transport.Carry(fromHost, ch) // Read returns the reason
			if ch.Broken() {
				c.fail(ch.Lost())
			}
			fromHost.Close()
		})
		wg.Go(func() {
			defer close(sent)
			from := &errRecorder{Reader: toHost}
			_ = transport.Carry(ch, from) // Write returns the reason
			if from.err != nil {
				ch.CloseWrite()
			}
		})
		c.serve(ctx, ch, sent)
		if ch.Broken() {
			c.fail(ch.Lost())
		}
		toHost.Close()
		select {
		case <-received: // the user has read everything
		case <-c.closed:
		case <-ch.Done():
			c.fail(ch.Lost())
		}
		fromHost.Close()
		wg.Wait()
	})
	if !ok {
		ch.Abandon()
		return nil, ch.Lost()
	}
	return c, nil
}

// serve returns when the host has closed the channel, or after closing it itself: it does that
// when the user has closed the connection and everything written has been sent.
func (c *streamConn) serve(ctx context.Context, ch Stream, sent <-chan struct{}) {
	closed, cancelled := c.closed, ctx.Done()
	var late <-chan time.Time
	var flushed <-chan struct{}
	for {
		select {
		case req, ok := <-ch.Requests():
			if !ok {
				return
			}
			req.Reply(false, nil)
			continue
		case <-cancelled:
			cancelled = nil
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
		ch.CloseSoon()
		ssh.DiscardRequests(ch.Requests())
		return
	}
}

// fail sets the error of the connection, if it has none.
func (c *streamConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// Read implements [net.Conn].
func (c *streamConn) Read(p []byte) (int, error) {
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
func (c *streamConn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.out.Write(p)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.ErrClosedPipe) {
		c.mu.Lock()
		failure, closedWrite := c.err, c.wroteClose
		c.mu.Unlock()
		switch {
		case isClosed(c.closed):
			err = net.ErrClosed
		case closedWrite || failure == nil:
			err = syscall.EPIPE
		default:
			err = failure
		}
	}
	return n, c.opError("write", err)
}

// opError returns an error in the form that package net uses.
func (c *streamConn) opError(op string, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: op, Net: c.remote.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// CloseWrite tells the other side that nothing more will be written.
func (c *streamConn) CloseWrite() error {
	c.mu.Lock()
	c.wroteClose = true
	c.mu.Unlock()
	return c.out.Close()
}

// Close implements [net.Conn].
func (c *streamConn) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.closeOnce.Do(func() {
		close(c.closed)
		c.in.Close()
		c.out.Close()
		err = nil
	})
	return err
}

// LocalAddr returns the local address given to NewConn.
func (c *streamConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the remote address given to NewConn.
func (c *streamConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn].
func (c *streamConn) SetDeadline(at time.Time) error {
	return errors.Join(c.SetReadDeadline(at), c.SetWriteDeadline(at))
}

// SetReadDeadline implements [net.Conn].
func (c *streamConn) SetReadDeadline(at time.Time) error {
	return c.deadlineError(c.in.SetReadDeadline(at))
}

// SetWriteDeadline implements [net.Conn].
func (c *streamConn) SetWriteDeadline(at time.Time) error {
	return c.deadlineError(c.out.SetWriteDeadline(at))
}

func (c *streamConn) deadlineError(err error) error {
	if err == nil || !isClosed(c.closed) {
		return nil // one direction has ended, the other may still have a deadline
	}
	return c.opError("set", net.ErrClosed)
}
