package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/sanitize"
	"fleetssh/internal/tunnel"
)

// ForwardLocal listens on a local address and connects each client of the tunnel from the host
// to target, like ssh -L; see [Tunnel] for how addresses are written.
//
// The tunnel outlives ctx, which bounds the call. The error is a [*ConfigError], or the reason
// why it cannot listen. ForwardLocal does not try target: if the host cannot connect to it,
// each client is reset.
func (c *Client) ForwardLocal(ctx context.Context, listen, target string) (*Tunnel, error) {
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	return c.forward(ctx, listen, func(t *tunnel.Tunnel, client tunnel.ClientConn) {
		t.Connect(client, to, c.targetDialer())
	})
}

// ForwardSOCKS listens on a local address and serves SOCKS 5, 4 and 4a without a login, like
// ssh -D. The host makes the connections and resolves the names. Addresses, ctx and the error
// are as for ForwardLocal.
func (c *Client) ForwardSOCKS(ctx context.Context, listen string) (*Tunnel, error) {
	return c.forward(ctx, listen, func(t *tunnel.Tunnel, client tunnel.ClientConn) {
		t.ServeSOCKS(client, anywhere(c.targetDialer()))
	})
}

func (c *Client) forward(ctx context.Context, listen string, serve func(*tunnel.Tunnel, tunnel.ClientConn)) (*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	t, err := tunnel.Listen(ctx, c.d.reportTunnel, at, serve)
	if err != nil {
		return nil, err
	}
	if err := c.endTunnel(t); err != nil {
		return nil, err
	}
	return &Tunnel{t}, nil
}

// endTunnel ends the tunnel when the connection ends; Close of c waits for that. It fails if c
// is closed.
func (c *Client) endTunnel(t *tunnel.Tunnel) error {
	ok := c.conn.Go(func() {
		select {
		case <-t.Context().Done():
		case <-c.conn.Done():
			t.End(c.lostTunnel())
		}
		_ = t.Wait() // Tunnel.Wait returns the reason to the user
	})
	if !ok {
		t.Close()
		return c.lostTunnel()
	}
	return nil
}

// DialContext connects from the host to addr: "host:port" with the network "tcp", or the path
// of a socket with "unix". The host resolves the name. DialContext fits [net/http.Transport]
// and everything else that takes a dial function. The connection outlives ctx; ctx and
// HostConfig.ConnectTimeout bound the call.
//
// The connection supports deadlines, and has a method CloseWrite. Read returns [io.EOF] only if
// the other side has ended the connection; if the connection is lost, it returns another error.
// Data written before Close is still sent, for up to five seconds.
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
	return tunnel.NewConn(context.Background(), ch, c.conn.Link().LocalAddr(), to.Addr())
}

// dialTarget returns the address that the arguments of a dial function stand for.
func dialTarget(network, addr string) (tunnel.Address, error) {
	switch network {
	case "tcp":
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return tunnel.Address{}, &ConfigError{Index: -1, Field: "addr", Reason: err.Error()}
		}
	case "unix":
		addr = "unix:" + addr
	default:
		return tunnel.Address{}, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	return parseTarget(addr)
}

// parseListen parses an address to listen on: see [Tunnel].
func parseListen(text string) (tunnel.Address, error) {
	a, err := tunnel.ParseListen(text)
	if err == nil && a.Host != "" {
		err = checkName(a.Host)
	}
	return a, addressError("listen", text, err)
}

// parseTarget parses the target of a tunnel: see [Tunnel].
func parseTarget(text string) (tunnel.Address, error) {
	a, err := tunnel.ParseTarget(text)
	if err == nil && a.Host != "" {
		err = checkName(a.Host)
	}
	return a, addressError("target", text, err)
}

func addressError(field, text string, err error) error {
	if err == nil {
		return nil
	}
	return &ConfigError{Index: -1, Field: field, Reason: fmt.Sprintf("%q: %v", sanitize.Line(text), err)}
}

// targetDialer returns a dialer that opens channels to addresses behind the host.
func (c *Client) targetDialer() tunnel.Dialer {
	return tunnel.Dialer{Host: *c.host, Dial: opener(c.openTunnel)}
}

// opener adapts a function that opens channels to a [tunnel.Dialer].
func opener(open func(context.Context, tunnel.Address) (*tunnelChannel, error)) func(context.Context, tunnel.Address) (tunnel.Stream, *tunnel.Failure) {
	return func(ctx context.Context, to tunnel.Address) (tunnel.Stream, *tunnel.Failure) {
		ch, err := open(ctx, to)
		if err != nil {
			return nil, tunnelFailure(err)
		}
		return ch, nil
	}
}

// tunnelFailure translates an error of opening a channel for package tunnel.
func tunnelFailure(err error) *tunnel.Failure {
	f := &tunnel.Failure{Err: err}
	switch e := err.(type) {
	case *SessionError:
		f.Target = true
	case *TimeoutError:
		f.Target = e.Phase == PhaseForward
	}
	if refused, ok := errors.AsType[*refusedTunnel](err); ok {
		switch refused.reason {
		case ssh.Prohibited:
			f.Cause = tunnel.NotAllowed
		case ssh.ConnectionFailed:
			f.Cause = tunnel.TargetRefuses
		default:
			f.Cause = tunnel.HostRefuses
		}
	} else if _, ok := errors.AsType[*TimeoutError](err); ok {
		f.Cause = tunnel.NoAnswer
	}
	return f
}

// anywhere returns the route of a proxy that connects to every address its clients name.
func anywhere(dialer tunnel.Dialer) tunnel.Route {
	return func(name string, port int) (tunnel.Dialer, tunnel.Address, *tunnel.Failure) {
		if err := checkName(name); err != nil || port == 0 {
			return dialer, tunnel.Address{}, &tunnel.Failure{Err: errors.New("no such address"), Cause: tunnel.NotAllowed}
		}
		return dialer, tunnel.Address{Host: name, Port: port}, nil
	}
}

// tunnelChannel is a channel that carries one connection through a tunnel. It implements
// [tunnel.Stream].
type tunnelChannel struct {
	ssh.Channel
	requests <-chan *ssh.Request
	client   *Client
}

// openTunnel asks the host to connect to an address (direct-tcpip, RFC 4254, section
// 7.2; direct-streamlocal@openssh.com, OpenSSH's PROTOCOL, section 2.4). It takes
// HostConfig.ConnectTimeout at most.
func (c *Client) openTunnel(ctx context.Context, to tunnel.Address) (*tunnelChannel, error) {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	kind, payload := "direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{to.Host, uint32(to.Port), "127.0.0.1", 0})
	if to.Path != "" {
		kind, payload = "direct-streamlocal@openssh.com", ssh.Marshal(struct {
			Path     string
			Reserved string
			Unused   uint32
		}{to.Path, "", 0})
	}
	channel, requests, err := c.conn.Open(ctx, kind, payload)
	if err != nil {
		return nil, c.tunnelError(ctx, PhaseForward, to, err)
	}
	return c.newTunnelChannel(channel, requests), nil
}

// newTunnelChannel adds a user to the connection, until Leave, and lifts the limit on what the
// SSH library reads ahead. The library may then buffer a full window for every channel; with
// the limit, the slowest reader would set the pace of all channels.
func (c *Client) newTunnelChannel(channel ssh.Channel, requests <-chan *ssh.Request) *tunnelChannel {
	c.conn.LiftReadLimit()
	c.conn.Enter()
	return &tunnelChannel{channel, requests, c}
}

// tunnelError returns the error for a tunnel to, or from, an address on the host's side.
func (c *Client) tunnelError(ctx context.Context, phase Phase, at tunnel.Address, err error) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	if !ok {
		return c.sessionError(ctx, phase, err)
	}
	text := sanitize.Line(refused.Message)
	switch {
	case refused.Reason == ssh.Prohibited:
		text = "the host does not allow it (AllowTcpForwarding, PermitOpen): " + text
	case text == "":
		text = refused.Reason.String()
	}
	if at.Path != "" && refused.Reason == ssh.ConnectionFailed {
		text += " (sshd says no more: there is no such socket, or none for this user, or AllowStreamLocalForwarding is off)"
	}
	return &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: phase, Err: &refusedTunnel{at, refused.Reason, text}}
}

// refusedTunnel is the error of a host that does not allow a connection to an address, or
// cannot make it.
type refusedTunnel struct {
	to     tunnel.Address
	reason ssh.RejectionReason
	text   string
}

func (e *refusedTunnel) Error() string { return e.to.String() + ": " + e.text }

// lostTunnel returns the error of a tunnel whose connection to the host has ended.
func (c *Client) lostTunnel() error {
	return &ConnectionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseForward, Err: c.conn.LostError(io.EOF)}
}

// Requests implements [tunnel.Stream], as do the methods below.
func (ch *tunnelChannel) Requests() <-chan *ssh.Request { return ch.requests }

// CloseSoon closes the channel without waiting for the host.
func (ch *tunnelChannel) CloseSoon() { ch.client.conn.CloseSoon(ch.Channel) }

// Leave undoes newTunnelChannel.
func (ch *tunnelChannel) Leave() {
	ch.client.conn.RestoreReadLimit()
	ch.client.conn.Leave()
}

// Abandon closes the channel and calls Leave.
func (ch *tunnelChannel) Abandon() {
	ch.Leave()
	ch.client.conn.Discard(ch.Channel, ch.requests)
}

// Go runs f on a goroutine of the client.
func (ch *tunnelChannel) Go(f func()) bool { return ch.client.conn.Go(f) }

// Done is closed when the connection has ended.
func (ch *tunnelChannel) Done() <-chan struct{} { return ch.client.conn.Done() }

// Broken reports whether the connection has ended, or is about to.
func (ch *tunnelChannel) Broken() bool { return ch.client.conn.Failed() }

// Lost returns the error of a connection that has ended.
func (ch *tunnelChannel) Lost() error { return ch.client.lostTunnel() }
