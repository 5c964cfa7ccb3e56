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

// Stream is a channel of an SSH connection that carries one connection through a tunnel. [Relay]
// and [NewConn] own the Stream that they are given, and call Leave in the end.
type Stream interface {
	io.ReadWriter
	CloseWrite() error

	// Requests returns the channel requests of the host, which must be answered. It is closed when
	// the host has closed the channel.
	Requests() <-chan *ssh.Request

	// CloseSoon closes the channel on another goroutine, since writing to a host that does not read
	// would block.
	CloseSoon()

	// Leave ends the use of the connection by the channel. Abandon also closes the channel.
	Leave()
	Abandon()

	// The methods below concern the SSH connection.

	// Go runs f on a goroutine that closing the connection waits for. It returns false, and does
	// not run f, if the connection is closed.
	Go(f func()) bool

	// Done is closed when the connection has ended. Broken reports whether the connection has
	// ended or is failing: then an end of file from the channel does not come from the other side.
	// Lost returns the error for users.
	Done() <-chan struct{}
	Broken() bool
	Lost() error
}

// Relay copies in both directions between the channel and a client connection until both
// directions have ended, one side fails, or ctx ends. It closes both sides. It does not wait for
// the host to confirm the close; a goroutine of the connection does.
func Relay(ctx context.Context, ch Stream, client ClientConn) {
	done := make(chan struct{})
	ok := ch.Go(func() {
		defer close(done)
		relay(ctx, ch, client)
	})
	if !ok {
		ch.Abandon()
		Reset(client)
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
		Reset(client)
	}
}

func relay(ctx context.Context, ch Stream, client ClientConn) {
	defer ch.Leave()
	var wg sync.WaitGroup
	sent, received := make(chan struct{}), make(chan struct{}) // closed after the last byte from the client or the host
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
	direction(sent, func() { toHost(ch, client) })
	direction(received, func() { toClient(ch, client, func() { wg.Go(func() { <-sent; ch.CloseSoon() }) }) })
	cancelled := ctx.Done()
	for open := true; open; {
		select {
		case req, ok := <-ch.Requests():
			if ok {
				req.Reply(false, nil)
			}
			open = ok
		case <-both:
			both = nil
			client.Close()
			ch.CloseSoon()
		case <-cancelled:
			cancelled = nil
			Reset(client)
			ch.CloseSoon()
		}
	}
	// The host has closed the channel. The client still gets the bytes sent before.
	select {
	case <-received:
	case <-cancelled:
	case <-ch.Done():
	}
	if ctx.Err() != nil || ch.Broken() {
		Reset(client)
	}
	client.Close()
	wg.Wait()
}

// toHost copies from the client to the host.
func toHost(ch Stream, client ClientConn) {
	from := &errRecorder{Reader: client}
	_ = transport.Carry(ch, from) // from has the error, unless the channel is closed
	switch from.err {
	case nil:
	case io.EOF:
		ch.CloseWrite()
	default:
		ch.CloseSoon() // the client is gone
	}
}

// toClient copies from the host to the client. If the client does not accept any more, toClient
// calls stopped and discards the rest, since the client may still be sending.
func toClient(ch Stream, client ClientConn, stopped func()) {
	to := &errRecorder{Writer: client}
	_ = transport.Carry(to, ch) // to has the error, unless the channel has ended
	switch {
	case to.err != nil:
		stopped()
		_, _ = io.Copy(io.Discard, ch)
	case ch.Broken():
		Reset(client)
	default:
		_ = client.CloseWrite() // if the client is gone, it needs no end of file
	}
}

// Reset closes a connection with a TCP reset if possible, so that the other side does not take the
// bytes that it has received for the whole.
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

// errRecorder records the last error of one side of a copy.
type errRecorder struct {
	io.Reader
	io.Writer
	err error
}

func (n *errRecorder) Read(p []byte) (int, error) {
	got, err := n.Reader.Read(p)
	n.err = err
	return got, err
}

func (n *errRecorder) Write(p []byte) (int, error) {
	put, err := n.Writer.Write(p)
	n.err = err
	return put, err
}
