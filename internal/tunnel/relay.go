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
// [Relay] and [NewConn] own the one they are given, and call Leave in the end.
type Stream interface {
	io.ReadWriter
	CloseWrite() error

	// Requests yields the channel requests of the host, which must be answered. It is
	// closed when the host has closed the channel.
	Requests() <-chan *ssh.Request

	// CloseSoon closes the channel on another goroutine: writing to a host that does not
	// read would block.
	CloseSoon()

	// Leave ends the use of the connection by the channel. Abandon also closes the channel.
	Leave()
	Abandon()

	// The methods below are about the connection.

	// Go runs f on a goroutine that closing the connection waits for. It returns false, and
	// does not run f, if the connection is closed.
	Go(f func()) bool

	// Done is closed when the connection has ended. Broken reports whether it has ended or is
	// failing: an end of file from the channel then does not come from the other side. Lost
	// returns the error for users.
	Done() <-chan struct{}
	Broken() bool
	Lost() error
}

// Relay copies in both directions between the channel and a caller until both directions
// have ended, one side fails, or ctx ends. It closes both sides. It does not wait until the
// host confirms the close; a goroutine of the connection does.
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
	said, heard := make(chan struct{}), make(chan struct{}) // closed after the last byte from the caller, or from the host
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
	// The host has closed the channel. The caller still gets what was sent before.
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

// toHost copies from the caller to the host.
func toHost(ch Stream, caller Caller) {
	from := &noting{Reader: caller}
	_ = transport.Carry(ch, from) // from has the error, unless the channel is closed
	switch from.err {
	case nil:
	case io.EOF:
		ch.CloseWrite()
	default:
		ch.CloseSoon() // the caller is gone
	}
}

// toCaller copies from the host to the caller. If the caller takes no more, it calls deaf and
// drops the rest: the caller may still be sending.
func toCaller(ch Stream, caller Caller, deaf func()) {
	to := &noting{Writer: caller}
	_ = transport.Carry(to, ch) // to has the error, unless the channel has ended
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

// Reset closes a connection with a TCP reset, where it can: the other side must not take
// what it has received for the whole.
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

// noting keeps the last error of one side of a copy.
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
