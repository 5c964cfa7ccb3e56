package fleetssh

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/deadline"
	"fleetssh/internal/sanitize"
)

// errClosed is why nothing can be done with a client or channel that its user has
// closed.
var errClosed = errors.New("closed")

// Client is a logged-in connection to one host. Its methods may be called by
// many goroutines at once.
type Client struct {
	host  *HostConfig // shared with its slot
	d     *dialer
	ownsD bool // d is for this client alone
	wire  *flow
	hop   *Client // the connection goes through it; nil: through none
	login loggedIn
	agent *forwarding // nil: no agent is forwarded

	listeners listeners // on the host
	pipes     pipes
	users     users

	wg   sync.WaitGroup // every goroutine of the client and its channels, but for those of await
	done chan struct{}  // closed when the connection is gone

	mu     sync.Mutex // protects what follows
	conn   ssh.Conn   // see link; an endedConn when done is closed
	closed bool
	calls  int           // of await, under way
	called chan struct{} // closed when there are none; nil: nobody waits for that
	ssh    *ssh.Client
	hand   handover
	idle   []*Channel // sessions on which nothing has been started; each knows its place
}

// Dial connects to host and logs in. It tries all addresses of the name, and
// several times if need be: see [HostConfig]. The connection outlives ctx, which
// bounds the call. The hops on the way are connected to for this client alone, and
// left with it.
//
// The error is a [*ConfigError], [*PKeyFileError], [*UnknownHostError],
// [*ConnectionError], [*HostKeyError], [*AuthenticationError], [*TimeoutError] or
// [*ProxyError].
func Dial(ctx context.Context, host HostConfig) (*Client, error) {
	if err := host.check(-1); err != nil {
		return nil, err
	}
	d := newDialer(nil, 0)
	c, _, err := d.dial(ctx, &host, nil, nil)
	if err != nil {
		d.close()
		return nil, err
	}
	c.ownsD = true
	d.leaveAgents() // only logging in needs it
	return c, nil
}

// newClient takes over a connection. begin must be called next.
func newClient(a *attempt, conn ssh.Conn, w *wire, login loggedIn) *Client {
	c := &Client{host: a.host, login: login, d: a.d, conn: conn, wire: w.flow, hop: a.hop, done: make(chan struct{})}
	if c.host.ForwardAgent {
		if socket := c.host.Auth.agentSocket(); socket != "" {
			c.agent = newForwarding(socket)
		} else {
			c.d.log.Warn(noAgentToForward, "host", c.host)
		}
	}
	return c
}

// begin lets the client serve the host.
func (c *Client) begin(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	c.wg.Go(func() { c.serve(channels, requests) })
}

// Execute opens a session and starts line on it, exactly as given. It returns
// as soon as the server has accepted the command, which runs on:
// [Channel.WaitFinished] waits for it.
func (c *Client) Execute(ctx context.Context, line string) (*Channel, error) {
	ch, err := c.OpenSession(ctx)
	if err != nil {
		return nil, err
	}
	if err := ch.Exec(ctx, line); err != nil {
		ch.Close()
		return nil, err
	}
	return ch, nil
}

// OpenSession opens a session on which nothing runs yet. Like every step of
// starting a command it takes [HostConfig.ConnectTimeout] at most.
//
// The error is a [*SessionError], [*TimeoutError] or [*ConnectionError].
func (c *Client) OpenSession(ctx context.Context) (*Channel, error) {
	return c.openSession(ctx, streamOptions{})
}

// RunCommand starts cmd and returns as soon as the server has accepted it. The
// command runs on: [Channel.WaitFinished] waits for it. HostArgs must have one
// entry or be nil.
//
// The error is a [*HostArgumentError] or [*ConfigError], and then the output is
// nil; or what kept the command from starting, which is also the Err of the output.
func (c *Client) RunCommand(ctx context.Context, cmd Command) (*HostOutput, error) {
	run, err := cmd.prepare(1, c.d)
	if err != nil {
		return nil, err
	}
	out := c.start(ctx, run, 0)
	run.play()
	run.closeAfter([]*HostOutput{out})
	return out, out.Err
}

// Output runs line, waits for it and returns its standard output. When ctx ends
// first, the command is stopped as by [Channel.Stop]. If the command fails the
// error is an [*ExitError] that holds the end of its standard error, and the
// output is what it had written.
func (c *Client) Output(ctx context.Context, line string) ([]byte, error) {
	ch, err := c.Execute(ctx, line)
	if err != nil {
		return nil, err
	}
	defer ch.Close()
	if err = ch.WaitFinished(ctx); ctx.Err() != nil && !ch.Finished() {
		ch.Stop(context.WithoutCancel(ctx))
	}
	out, readErr := io.ReadAll(ch.Stdout)
	if exit, ok := errors.AsType[*ExitError](err); ok {
		var last tail
		if _, err := ch.Stderr.WriteTo(&last); err == nil {
			exit.Stderr = last.kept
		}
	}
	if err == nil {
		err = readErr
	}
	return out, err
}

// tail keeps the last 4 KiB that are written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.kept = append(t.kept, p...)
	if len(t.kept) > most {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-most:]...)
	}
	return len(p), nil
}

// Host returns what the client was connected with.
func (c *Client) Host() HostConfig { return *c.host }

// Timing returns how long the phases of connecting took.
func (c *Client) Timing() Timing { return c.login.timing }

// Addr returns the address that was connected to: of the host, or of the hop in
// front of it.
func (c *Client) Addr() net.Addr { return c.link().RemoteAddr() }

// SSH returns the underlying connection, for what this package does not offer.
// Its channels know no contexts and no time-outs. Closing it closes the client's
// connection.
func (c *Client) SSH() *ssh.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ssh == nil {
		c.wire.others.Add(1)
		c.users.enter() // for good: what it is used for is not known
		c.users.countProgram()
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

// Close ends the connection and everything that runs over it, and waits until
// that has ended here. Commands on the host that do not notice run on. It may be
// called more than once.
func (c *Client) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	var err error
	if !again && !c.gone() {
		err = c.link().Close()
		if errors.Is(err, net.ErrClosed) {
			err = nil // it has just been given up as dead
		}
	}
	c.wg.Wait()
	c.waitForCalls()
	if c.ownsD && !again {
		err = errors.Join(err, c.d.close())
	}
	return err
}

// link returns the connection.
func (c *Client) link() ssh.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// gone reports whether the connection has ended.
func (c *Client) gone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// broken reports whether the connection has ended or is about to: the channels on
// it end a moment before gone says so.
func (c *Client) broken() bool { return c.gone() || c.wire.broken.Load() }

// spawn runs f in a goroutine that Close waits for. It returns false if the
// client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// spawnCall is spawn for a call of await.
func (c *Client) spawnCall(f func()) bool {
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

// waitForCalls waits for the calls of await, when the connection has ended. The SSH library
// never answers one that comes to open a channel in the moment in which the connection
// ends: that one is left behind.
func (c *Client) waitForCalls() {
	c.mu.Lock()
	if c.calls > 0 && c.called == nil {
		c.called = make(chan struct{})
	}
	called := c.called
	c.mu.Unlock()
	if called == nil {
		return
	}
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-called:
	case <-timer.C:
	}
}

// call is something that cannot be interrupted.
type call struct {
	do   func() error
	late func(error) // if not nil, called with the result when nobody waits for it any more
}

// await makes a call and waits for it until ctx ends. Then the call is left
// behind, to end with the connection at the latest.
func (c *Client) await(ctx context.Context, f call) error {
	result := make(chan error, 1)
	var settled atomic.Bool // by whoever comes first: the call with its result, or ctx
	ok := c.spawnCall(func() {
		err := f.do()
		switch inTime := !settled.Swap(true); {
		case inTime:
			result <- err
		case f.late != nil:
			f.late(err)
		}
	})
	if !ok {
		return errClosed
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

// starting returns ctx bounded as every step of starting a command is.
func (c *Client) starting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.host.connectTimeout())
}

// sessionError returns the error for a step of starting a command: refused, out of
// time, or without a connection.
func (c *Client) sessionError(ctx context.Context, op string, err error) error {
	name, port := c.host.name(), c.host.port()
	refused, isRefused := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case isRefused:
		text := refused.Message
		if text == "" {
			text = refused.Reason.String()
		}
		return &SessionError{Host: name, Port: port, Op: op, Err: errors.New("refused: " + sanitize.Line(text))}
	case errors.Is(err, errRequestRefused):
		return &SessionError{Host: name, Port: port, Op: op, Err: err}
	case ctx.Err() != nil && !c.gone():
		return interrupted(ctx, err, c.host, op, 0, 0)
	}
	return &ConnectionError{Host: name, Port: port, Phase: op, Err: c.lostReason(err)}
}

// errRequestRefused is the answer "no" to a channel request (RFC 4254,
// section 5.4), which gives no reason.
var errRequestRefused = errors.New("refused by the host")

// lostReason says why there is no connection any more.
func (c *Client) lostReason(err error) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return &sshError{text: "the client is closed", err: net.ErrClosed}
	}
	if isDisconnect(err) {
		return errors.New(sanitize.Line(plain(err)))
	}
	if why := c.wire.reason(); why != nil {
		return &sshError{text: "connection lost: " + why.Error(), err: why}
	}
	if c.hop != nil && c.hop.broken() {
		return &sshError{text: "connection lost with that to the hop " + c.hop.host.name(), err: err}
	}
	return &sshError{text: "connection lost", err: err}
}
