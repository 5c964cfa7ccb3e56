// Package conn runs one connection to a host after the login. It bounds what the SSH library
// reads ahead, counts the users of the connection and so decides who may close it, answers the
// host's channels and requests, probes whether the host is alive, and ends the connection. It
// knows no settings, no login and no commands.
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
	hop       *Conn            // see Config
	keepAlive time.Duration    // see Config
	agent     *agentForwarding // nil: no agent is forwarded
	incoming  func(ssh.NewChannel) (taken bool, err error)
	onDone    func()

	users
	opened atomic.Int64 // see Opened

	wg   sync.WaitGroup // every goroutine of the connection and its channels, except the goroutines of Call
	done chan struct{}  // closed when the connection has ended

	mu     sync.Mutex // protects what follows
	conn   ssh.Conn   // see Link; a doneConn when done is closed
	closed bool
	calls  int           // of Call, under way
	called chan struct{} // closed when calls reaches 0; nil: nobody waits for that
	ssh    *ssh.Client   // see SSH
	toSSH  handover
	idle   []*Session // sessions on which nothing has been started; each knows its index
}

// Config describes a connection to [New].
type Config struct {
	Link ssh.Conn
	Wire *Wire // the transport under Link
	Hop  *Conn // the connection to the hop that this one goes through; nil: none

	Name string // of the host, in errors
	Log  *slog.Logger
	Host func() any // returns what names the host in the log

	KeepAlive time.Duration   // how often the host is probed; zero: never
	Agent     *sshagent.Agent // the agent that the host may use; nil: none

	// Incoming is called for every channel that the host opens, and must not block. It reports
	// whether it has taken the channel; if it returns an error, the channel is refused with it.
	Incoming func(ssh.NewChannel) (taken bool, err error)

	// OnDone, if not nil, is called when the connection has ended. It must not block.
	OnDone func()
}

// debug logs an event of the connection. The check of the level saves c.host, which allocates.
func (c *Conn) debug(text string) {
	if c.log.Enabled(context.Background(), slog.LevelDebug) {
		c.log.Debug(text, "host", c.host())
	}
}

// New takes over a connection. The caller calls [Conn.Serve] next.
func New(config Config) *Conn {
	c := &Conn{
		name: config.Name, log: config.Log, host: config.Host,
		wire: config.Wire.flow, hop: config.Hop, keepAlive: config.KeepAlive,
		incoming: config.Incoming, onDone: config.OnDone,
		conn: config.Link, done: make(chan struct{}),
	}
	if config.Agent != nil {
		c.agent = newAgentForwarding(config.Agent)
	}
	return c
}

// Serve starts the goroutine that answers the host's channels and requests and probes it.
// [Conn.Close] waits for it.
func (c *Conn) Serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	c.wg.Go(func() { c.serve(channels, requests) })
}

// SSH returns the connection as an [ssh.Client]. What the caller does with it cannot be seen, so
// the connection counts as used from then on.
func (c *Conn) SSH() *ssh.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ssh == nil {
		c.LiftReadLimit()
		c.Enter() // and never leaves
		c.opened.Add(1)
		c.AddProgramNow()
		c.toSSH = handover{make(chan ssh.NewChannel), make(chan *ssh.Request)}
		c.ssh = ssh.NewClient(c.conn, c.toSSH.channels, c.toSSH.requests)
		if c.IsDone() { // serve has ended: nobody else closes them
			c.toSSH.close()
		}
	}
	return c.ssh
}

// Close ends the connection and everything that runs over it, and waits until all of it has
// ended on this side. It may be called more than once; first reports whether this is the first
// call. It returns the error of closing the transport.
func (c *Conn) Close() (first bool, err error) {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if !again && !c.IsDone() {
		err = c.Link().Close()
		if errors.Is(err, net.ErrClosed) {
			err = nil // it has just been given up
		}
	}
	c.wg.Wait()
	c.waitForCalls()
	return !again, err
}

// Done returns a channel that is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Fork runs f in a goroutine that Close waits for. Only goroutines started by Go or Fork may
// call it: while they run, Close has not returned.
func (c *Conn) Fork(f func()) { c.wg.Go(f) }

// IsClosed reports whether Close has been called.
func (c *Conn) IsClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Link returns the SSH connection. After the end it is a stand-in whose methods fail.
func (c *Conn) Link() ssh.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// IsDone reports whether the connection has ended.
func (c *Conn) IsDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Failed reports whether the transport has failed or been closed. The connection has ended then
// or is about to: its channels end a moment before IsDone is true.
func (c *Conn) Failed() bool { return c.IsDone() || c.wire.Failed() }

// Go runs f in a goroutine that Close waits for. It returns false if Close has been called.
func (c *Conn) Go(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// goCall is Go for the function of a Call.
func (c *Conn) goCall(f func()) bool {
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

// waitForCalls waits for the calls of Call after the connection has ended. It waits for
// CloseGrace at most: the SSH library never answers a call that opens a channel just when the
// connection ends.
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
	select {
	case <-called:
	case <-time.After(CloseGrace):
	}
}

// A Call is a call that no context can interrupt.
type Call struct {
	Do   func() error
	Late func(error) // if not nil, called with the result if Call has returned without it
}

// Call makes a call and waits for it until ctx ends. Then the call goes on without a waiter, and
// ends with the connection at the latest. The error is the call's, [ErrClosed] if Close
// has been called, or ctx's.
func (c *Conn) Call(ctx context.Context, f Call) error {
	// Whoever sets settled first decides who gets the result. If the call does, it sends the
	// result, and Call returns it even if ctx has ended meanwhile. If Call does, it returns
	// the error of ctx, and the call passes its result to Late.
	result := make(chan error, 1)
	var settled atomic.Bool
	ok := c.goCall(func() {
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

// Open opens a channel. A channel that the host opens after ctx has ended is closed again.
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
	c.opened.Add(1)
	return channel, requests, nil
}

// Opened returns how many channels the client has opened. Handing out the connection by SSH
// counts as one.
func (c *Conn) Opened() int64 { return c.opened.Load() }

// Stream returns a reader for one stream of a channel. The caller reads it to its end, or calls
// [Stream.End].
func (c *Conn) Stream(r io.Reader) *Stream { return c.wire.stream(r) }

// LiftReadLimit lifts the bound on what the SSH library may read ahead, until RestoreReadLimit
// is called: for a user, such as a tunnel, that reads at its own pace.
func (c *Conn) LiftReadLimit() { c.wire.exempt.Add(1) }

// RestoreReadLimit is the counterpart of LiftReadLimit.
func (c *Conn) RestoreReadLimit() { c.wire.exempt.Add(-1) }

// Carried returns how many bytes the connection has carried: those received, and those sent
// that the other side has taken.
func (c *Conn) Carried() int64 { return c.wire.carried() }

// LostError returns why the connection has ended. err is the error that the SSH library gave.
func (c *Conn) LostError(err error) error {
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
	if c.hop != nil && c.hop.Failed() {
		return &Error{Text: "connection lost: the connection to the hop " + c.hop.name + " has ended", Err: err}
	}
	return &Error{Text: "connection lost", Err: err}
}

// doneConn stands in for an SSH connection that has ended. The connection of the SSH library has
// 20 KiB of buffers, and a Conn may be kept long after its end, for the sake of the output of a
// command.
type doneConn struct {
	user                    string
	session, client, server []byte
	local, remote           net.Addr
}

func newDoneConn(c ssh.Conn) *doneConn {
	return &doneConn{c.User(), c.SessionID(), c.ClientVersion(), c.ServerVersion(), c.LocalAddr(), c.RemoteAddr()}
}

func (c *doneConn) User() string          { return c.user }
func (c *doneConn) SessionID() []byte     { return c.session }
func (c *doneConn) ClientVersion() []byte { return c.client }
func (c *doneConn) ServerVersion() []byte { return c.server }
func (c *doneConn) RemoteAddr() net.Addr  { return c.remote }
func (c *doneConn) LocalAddr() net.Addr   { return c.local }
func (c *doneConn) Close() error          { return net.ErrClosed }
func (c *doneConn) Wait() error           { return io.EOF }

func (c *doneConn) SendRequest(string, bool, []byte) (bool, []byte, error) {
	return false, nil, io.EOF
}

func (c *doneConn) OpenChannel(string, []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	return nil, nil, io.EOF
}
