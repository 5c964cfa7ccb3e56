// Package conn is one connection to a host that is logged in: the transport under SSH, who
// uses the connection and so who may close it, what the host asks for, whether the host is
// alive, and the end. It knows no settings, no login and no commands.
package conn

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/deadline"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/sshagent"
)

// Conn is a connection to one host. Its methods may be called by many goroutines at once.
type Conn struct {
	name      string // of the host, in errors
	log       *slog.Logger
	host      func() any // names the host in the log
	wire      *flow
	hop       *Conn            // the connection goes through it; nil: through none
	keepAlive time.Duration    // zero: the host is not probed
	agent     *agentForwarding // nil: no agent is forwarded
	incoming  func(ssh.NewChannel) (taken bool, err error)
	ended     func()

	users

	wg   sync.WaitGroup // every goroutine of the connection and its channels, except those of Call
	done chan struct{}  // closed when the connection is gone

	mu     sync.Mutex // protects what follows
	conn   ssh.Conn   // see Link; an endedConn when done is closed
	closed bool
	calls  int           // of Call, under way
	called chan struct{} // closed when there are none; nil: nobody waits for that
	ssh    *ssh.Client
	hand   handover
	idle   []*Session // sessions on which nothing has been started; each knows its place
}

// Config is what a [Conn] is made of.
type Config struct {
	Link ssh.Conn
	Wire *Wire // under Link
	Hop  *Conn // that the connection goes through; nil: through none

	Name string // of the host, in errors
	Log  *slog.Logger
	Host func() any // returns what names the host in the log

	KeepAlive time.Duration   // how often the host is probed; zero: never
	Agent     *sshagent.Agent // that the host may use; nil: none

	// Incoming is asked about every channel that the host opens, and must not wait. It
	// reports whether it has taken it. The error is why it is refused.
	Incoming func(ssh.NewChannel) (taken bool, err error)

	// Ended, if not nil, is called when the connection has ended. It must not wait.
	Ended func()
}

// debug logs something about the host, which costs a copy of what names it.
func (c *Conn) debug(text string) {
	if c.log.Enabled(context.Background(), slog.LevelDebug) {
		c.log.Debug(text, "host", c.host())
	}
}

// New takes over a connection. Serve must be called next.
func New(config Config) *Conn {
	c := &Conn{
		name: config.Name, log: config.Log, host: config.Host,
		wire: config.Wire.flow, hop: config.Hop, keepAlive: config.KeepAlive,
		incoming: config.Incoming, ended: config.Ended,
		conn: config.Link, done: make(chan struct{}),
	}
	if config.Agent != nil {
		c.agent = newAgentForwarding(config.Agent)
	}
	return c
}

// Serve begins to serve the host.
func (c *Conn) Serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	c.wg.Go(func() { c.serve(channels, requests) })
}

// SSH returns the connection for uses that are not known: it counts as used for good.
func (c *Conn) SSH() *ssh.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ssh == nil {
		c.Unbind()
		c.Enter() // for good
		c.CountProgram()
		c.hand = handover{make(chan ssh.NewChannel), make(chan *ssh.Request)}
		c.ssh = ssh.NewClient(c.conn, c.hand.channels, c.hand.requests)
		select {
		case <-c.done: // serve has ended: nobody else closes them
			close(c.hand.channels)
			close(c.hand.requests)
		default:
		}
	}
	return c.ssh
}

// Close ends the connection and everything that runs over it, and waits until that has ended
// here. It may be called more than once, and says whether this is the first time.
func (c *Conn) Close() (first bool, err error) {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if !again && !c.Gone() {
		err = c.Link().Close()
		if errors.Is(err, net.ErrClosed) {
			err = nil // it has just been given up as dead
		}
	}
	c.wg.Wait()
	c.waitForCalls()
	return !again, err
}

// Done returns a channel that is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Fork runs f in a goroutine that Close waits for. The caller is one of Go or Fork itself,
// so that Close has not returned.
func (c *Conn) Fork(f func()) { c.wg.Go(f) }

// IsClosed reports whether Close has been called.
func (c *Conn) IsClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Link returns the connection.
func (c *Conn) Link() ssh.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// Gone reports whether the connection has ended.
func (c *Conn) Gone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Broken reports whether the connection has ended or is about to: the channels on
// it end a moment before Gone says so.
func (c *Conn) Broken() bool { return c.Gone() || c.wire.broken.Load() }

// Go runs f in a goroutine that Close waits for. It returns false if the
// connection is closed.
func (c *Conn) Go(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// spawnCall is Go for a Call.
func (c *Conn) spawnCall(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.calls++
	go func() {
		f()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.calls--; c.calls == 0 && c.called != nil {
			close(c.called)
		}
	}()
	return true
}

// waitForCalls waits for the calls of Call, when the connection has ended. The SSH library
// never answers one that comes to open a channel in the moment in which the connection
// ends: that one is left behind.
func (c *Conn) waitForCalls() {
	c.mu.Lock()
	if c.calls > 0 && c.called == nil {
		c.called = make(chan struct{})
	}
	called := c.called
	c.mu.Unlock()
	if called == nil {
		return
	}
	timer := time.NewTimer(CloseGrace)
	defer timer.Stop()
	select {
	case <-called:
	case <-timer.C:
	}
}

// A Call is something that cannot be interrupted.
type Call struct {
	Do   func() error
	Late func(error) // if not nil, called with the result when nobody waits for it any more
}

// Call makes a call and waits for it until ctx ends. Then the call is left
// behind, to end with the connection at the latest.
func (c *Conn) Call(ctx context.Context, f Call) error {
	result := make(chan error, 1)
	var settled atomic.Bool // by whoever comes first: the call with its result, or ctx
	ok := c.spawnCall(func() {
		err := f.Do()
		switch inTime := !settled.Swap(true); {
		case inTime:
			result <- err
		case f.Late != nil:
			f.Late(err)
		}
	})
	if !ok {
		return ErrClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	if settled.Swap(true) {
		return <-result
	}
	return deadline.Cause(ctx)
}

// Open opens a channel. One that comes when nobody waits for it any more is closed again.
func (c *Conn) Open(ctx context.Context, kind string, payload []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	var channel ssh.Channel
	var requests <-chan *ssh.Request
	err := c.Call(ctx, Call{
		Do: func() (err error) {
			channel, requests, err = c.Link().OpenChannel(kind, payload)
			return err
		},
		Late: func(err error) {
			if err == nil {
				c.Discard(channel, requests)
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return channel, requests, nil
}

// Stream returns a reader for one stream of a channel, which is to be read to its end.
func (c *Conn) Stream(r io.Reader) *Stream { return c.wire.stream(r) }

// Unbind lifts the bound on what the SSH library may read ahead, for a user that takes what
// comes at a pace of its own, until Bind is called.
func (c *Conn) Unbind() { c.wire.exempt.Add(1) }

// Bind is the counterpart of Unbind.
func (c *Conn) Bind() { c.wire.exempt.Add(-1) }

// Carried returns how many bytes have come, and have been taken by the other side.
func (c *Conn) Carried() int64 { return c.wire.carried() }

// Lost says why there is no connection any more.
func (c *Conn) Lost(err error) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return &Error{Text: "the client is closed", Err: net.ErrClosed}
	}
	if IsDisconnect(err) {
		return errors.New(sanitize.Line(Plain(err)))
	}
	if why := c.wire.reason(); why != nil {
		return &Error{Text: "connection lost: " + why.Error(), Err: why}
	}
	if c.hop != nil && c.hop.Broken() {
		return &Error{Text: "connection lost with that to the hop " + c.hop.name, Err: err}
	}
	return &Error{Text: "connection lost", Err: err}
}
