package tunnel

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/transport"
)

// Stream is a channel of an SSH connection that carries one connection through a tunnel.
// [Relay] and [NewConn] take it over, and leave it in the end.
type Stream interface {
	io.ReadWriter
	CloseWrite() error

	// Requests yields the requests of the host about the channel, to be answered. It is
	// closed when the channel is.
	Requests() <-chan *ssh.Request

	// CloseSoon closes the channel without waiting for that.
	CloseSoon()

	// Leave says that nobody uses the channel any more, and Abandon closes it besides.
	Leave()
	Abandon()

	// What follows is about the connection.

	// Go runs f on a goroutine that closing the connection waits for. It returns false if
	// the connection is closed.
	Go(f func()) bool

	// Done is closed when the connection has ended, and Broken reports whether it has, or
	// is about to: then an end of file from the channel means nothing. Lost is the error
	// for that.
	Done() <-chan struct{}
	Broken() bool
	Lost() error

	LocalAddr() net.Addr
}

// Relay carries both directions between the channel and a caller, until both have
// ended, or one is broken, or ctx ends. It closes both. It returns without waiting for
// the host to agree to the end: what waits for that is a goroutine of the connection.
func Relay(ctx context.Context, ch Stream, caller Caller) {
	done := make(chan struct{})
	ok := ch.Go(func() {
		defer close(done)
		relay(ctx, ch, caller)
	})
	if !ok {
		ch.Abandon()
		Reset(caller)
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
		Reset(caller)
	}
}

func relay(ctx context.Context, ch Stream, caller Caller) {
	defer ch.Leave()
	var wg sync.WaitGroup
	said, heard := make(chan struct{}), make(chan struct{}) // closed when the caller, or the host, has said all
	both := make(chan struct{})
	var left atomic.Int32
	left.Store(2)
	direction := func(ended chan struct{}, run func()) {
		wg.Go(func() {
			run()
			close(ended)
			if left.Add(-1) == 0 {
				close(both)
			}
		})
	}
	direction(said, func() { toHost(ch, caller) })
	direction(heard, func() { toCaller(ch, caller, func() { wg.Go(func() { <-said; ch.CloseSoon() }) }) })
	over := ctx.Done()
	for open := true; open; {
		select {
		case req, ok := <-ch.Requests():
			if ok {
				req.Reply(false, nil)
			}
			open = ok
		case <-both:
			both = nil
			caller.Close()
			ch.CloseSoon()
		case <-over:
			over = nil
			Reset(caller)
			ch.CloseSoon()
		}
	}
	// The host has closed the channel; what it said before is still for the caller.
	select {
	case <-heard:
	case <-over:
	case <-ch.Done():
	}
	if ctx.Err() != nil || ch.Broken() {
		Reset(caller)
	}
	caller.Close()
	wg.Wait()
}

// toHost carries what the caller says.
func toHost(ch Stream, caller Caller) {
	from := &noting{Reader: caller}
	_ = transport.Carry(ch, from) // told by from, or else the channel has been closed
	switch from.err {
	case nil:
	case io.EOF:
		ch.CloseWrite()
	default:
		ch.CloseSoon() // the caller is gone
	}
}

// toCaller carries what comes from the host. It calls deaf if the caller takes no more,
// and drops the rest: the caller may still have something to say.
func toCaller(ch Stream, caller Caller, deaf func()) {
	to := &noting{Writer: caller}
	_ = transport.Carry(to, ch) // told by to, or else the channel has ended
	switch {
	case to.err != nil:
		deaf()
		_, _ = io.Copy(io.Discard, ch)
	case ch.Broken():
		Reset(caller)
	default:
		_ = caller.CloseWrite() // the caller may be gone, and then needs no end of file
	}
}

// Reset ends a connection so that the other side takes it for broken.
func Reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // it fails only on a connection that is closed
	}
	conn.Close()
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// noting remembers the error of one side of a copy.
type noting struct {
	io.Reader
	io.Writer
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	got, err := n.Reader.Read(p)
	n.err = err
	return got, err
}

func (n *noting) Write(p []byte) (int, error) {
	put, err := n.Writer.Write(p)
	n.err = err
	return put, err
}
