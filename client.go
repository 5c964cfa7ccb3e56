package fleetssh

import (
	"context"
	"errors"
	"net"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/dial"
	"fleetssh/internal/sanitize"
)

// Client is a logged-in connection to one host. Its methods may be called by
// many goroutines at once.
type Client struct {
	host  *HostConfig // shared with its slot
	d     *dialer
	ownsD bool // d belongs to this client, whose Close closes it
	conn  *conn.Conn
	login *dial.Login // how conn was logged in

	listeners listeners // on the host
	raw       rawSessions
}

// Dial connects to host and logs in. It tries all addresses of the name, and repeats failed
// attempts: see [HostConfig]. The connection outlives ctx, which bounds the call. Connections
// to hops are made for this client only, and closed with it.
//
// The error is a [*ConfigError], [*PKeyFileError], [*UnknownHostError],
// [*ConnectionError], [*HostKeyError], [*AuthenticationError], [*TimeoutError] or
// [*ProxyError].
func Dial(ctx context.Context, host HostConfig) (*Client, error) {
	if err := host.check(-1); err != nil {
		return nil, err
	}
	d := newDialer(nil, 0, nil)
	c, _, err := d.dial(ctx, &host, nil)
	if err != nil {
		d.close()
		return nil, err
	}
	c.ownsD = true
	d.engine.ReleaseAgents() // only logging in needs them
	return c, nil
}

// Execute opens a session and starts line on it, exactly as given. It returns as soon as the
// server has accepted the command, which continues to run: [Channel.WaitFinished] waits for it.
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

// OpenSession opens a session without starting anything on it. Like every step of starting a
// command, it takes at most [HostConfig.ConnectTimeout].
//
// The error is a [*SessionError], [*TimeoutError] or [*ConnectionError].
func (c *Client) OpenSession(ctx context.Context) (*Channel, error) {
	s, err := c.openSession(ctx, streamOptions{})
	if err != nil {
		return nil, err
	}
	return &s.Channel, nil
}

// RunCommand starts cmd and returns as soon as the server has accepted it. The command
// continues to run: [Channel.WaitFinished] waits for it. HostArgs must have one entry or be
// nil.
//
// If the error is a [*HostArgumentError] or [*ConfigError], the output is nil. Any other error
// is the reason why the command did not start, and also the Err of the output.
func (c *Client) RunCommand(ctx context.Context, cmd Command) (*HostOutput, error) {
	run, err := cmd.prepare(1, c.d)
	if err != nil {
		return nil, err
	}
	out := c.start(ctx, run, 0)
	run.readInput()
	run.closeAfter([]*HostOutput{out})
	return out, out.Err
}

// Output runs line, waits for it and returns its standard output. When ctx ends first, the
// command is stopped as by [Channel.Stop]. If the command fails, the error is an [*ExitError]
// that holds the end of its standard error, and Output also returns what the command has
// written to standard output.
func (c *Client) Output(ctx context.Context, line string) ([]byte, error) {
	ch, err := c.Execute(ctx, line)
	if err != nil {
		return nil, err
	}
	defer ch.Close()
	return collect(ctx, ch)
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

// Host returns the configuration that the client was connected with.
func (c *Client) Host() HostConfig { return *c.host }

// Timing returns how long the phases of connecting took.
func (c *Client) Timing() Timing { return timingOf(c.login.Timing) }

// Addr returns the remote address of the transport: the address of the host or, if the
// connection goes through hops or a proxy, the address of the first hop or the proxy. With an
// OpenSSH master, or a [ProxyCommand] without UseFdpass, it is the address of a Unix socket.
func (c *Client) Addr() net.Addr { return c.conn.Link().RemoteAddr() }

// SSH returns the underlying connection, for everything that this package does not offer. Its
// channels support neither contexts nor time-outs. Closing it closes the client's connection.
func (c *Client) SSH() *ssh.Client { return c.conn.SSH() }

// Close ends the connection and everything that uses it, and waits until all of it has ended on
// this side. Commands on the host that do not notice the end continue to run. Close may be
// called more than once.
func (c *Client) Close() error {
	first, err := c.conn.Close()
	if c.ownsD && first {
		err = errors.Join(err, c.d.close())
	}
	return err
}

// starting returns ctx with the time limit of every step of starting a command.
func (c *Client) starting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.host.connectTimeout())
}

// sessionError returns the error for a step of starting a command that was refused, took too
// long, or lost the connection.
func (c *Client) sessionError(ctx context.Context, phase Phase, err error) error {
	name, port := c.host.name(), c.host.port()
	refused, isRefused := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case isRefused:
		text := refused.Message
		if text == "" {
			text = refused.Reason.String()
		}
		return &SessionError{Host: name, Port: port, Phase: phase, Err: errors.New("refused: " + sanitize.Line(text))}
	case errors.Is(err, errRequestRefused):
		return &SessionError{Host: name, Port: port, Phase: phase, Err: err}
	case ctx.Err() != nil && !c.conn.IsDone():
		return interrupted(ctx, err, c.host, phase)
	}
	return &ConnectionError{Host: name, Port: port, Phase: phase, Err: c.conn.LostError(err)}
}

// errRequestRefused is the error of a channel request that the host refuses (RFC 4254, section
// 5.4). The answer gives no reason.
var errRequestRefused = errors.New("refused by the host")

// Login describes how a host was logged in to.
type Login struct {
	Host HostConfig

	// Addr is the remote address of the transport, as [Client.Addr] returns it.
	Addr net.Addr

	// Master is the socket of the OpenSSH master whose connection is used. It is empty if the
	// client has its own connection. With a master, only Timing is set of the fields that
	// follow.
	Master string

	// HostKey is the key that the host has proved to own.
	HostKey ssh.PublicKey

	// Methods are the methods that the host has accepted, in their order. Usually it is one; it
	// is "none" if the host required no authentication.
	Methods []string

	// Allowed are the methods that the host allowed at first, before any was tried. It is empty if
	// the host required no authentication.
	Allowed []string

	// Key is the key or certificate that was accepted, nil if none was.
	Key ssh.PublicKey

	// Banner is the text that the host sent before the login, and before its version line. It
	// is at most 4 KiB, sanitized, and keeps its line ends.
	Banner string

	// Version is the version line of the host, such as "SSH-2.0-OpenSSH_9.6". It is sanitized.
	Version string

	// Algorithms are those that the client and the host have agreed on. A MAC is empty if the
	// cipher needs none.
	Algorithms ssh.NegotiatedAlgorithms

	// Offered are the algorithms that the host has offered, its most preferred first; from the
	// client to the host, where the directions differ. PublicKeyAuths is empty.
	Offered ssh.Algorithms

	// Timing is how long the phases of connecting took.
	Timing Timing

	// Warnings describe requested settings that could not be applied, such as delegating a
	// ticket.
	Warnings []string
}

// Logins returns how each host on the route was logged in to: first the hops in their order,
// then the host itself.
func (c *Client) Logins() []Login {
	var logins []Login
	for l, host := c.login, c.host; l != nil; l, host = l.Hop, host.Proxy {
		logins = append(logins, Login{
			Host: *host, Addr: l.Addr, Master: l.Master, HostKey: l.HostKey, Methods: l.Methods, Allowed: l.Allowed,
			Key: l.Key, Banner: l.Banner, Version: l.Version, Algorithms: l.Algorithms, Offered: l.Offered.Algorithms(), Timing: timingOf(l.Timing), Warnings: l.Warnings,
		})
	}
	slices.Reverse(logins)
	return logins
}
