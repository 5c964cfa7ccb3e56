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

// ForwardLocal listens on a local address and connects each caller from the host to
// target, like ssh -L; see [Tunnel] for how addresses are written.
//
// The tunnel outlives ctx, which bounds the call. The error is a [*ConfigError], or
// what kept it from listening. Whether the host connects to target shows when somebody
// calls: a caller that gets no connection is reset.
func (c *Client) ForwardLocal(ctx context.Context, listen, target string) (*Tunnel, error) {
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	return c.forward(ctx, listen, func(t *tunnel.Tunnel, caller tunnel.ClientConn) {
		t.Connect(caller, to, c.targetDialer())
	})
}

// ForwardSOCKS listens on a local address and serves SOCKS 5, 4 and 4a without a login,
// connecting from the host, like ssh -D. The host looks up the names. Addresses, ctx
// and the error are as for ForwardLocal.
func (c *Client) ForwardSOCKS(ctx context.Context, listen string) (*Tunnel, error) {
	return c.forward(ctx, listen, func(t *tunnel.Tunnel, caller tunnel.ClientConn) {
		t.ServeSOCKS(caller, anywhere(c.targetDialer()))
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

// endTunnel makes the tunnel end with the connection; Close of c waits for that. It fails if c
// is closed.
func (c *Client) endTunnel(t *tunnel.Tunnel) error {
	ok := c.conn.Go(func() {
		select {
		case <-t.Context().Done():
		case <-c.conn.Done():
			t.End(c.lostTunnel())
		}
		_ = t.Wait() // whoever has the tunnel is told
	})
	if !ok {
		t.Close()
		return c.lostTunnel()
	}
	return nil
}

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
	return tunnel.NewConn(context.Background(), ch, c.conn.Link().LocalAddr(), to.Addr())
}

// dialTarget returns what the arguments of a dial function mean.
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

// parseListen reads where to listen: see [Tunnel].
func parseListen(text string) (tunnel.Address, error) {
	a, err := tunnel.ParseListen(text)
	if err == nil && a.Host != "" {
		err = checkName(a.Host)
	}
	return a, addressError("listen", text, err)
}

// parseTarget reads where a tunnel leads to: see [Tunnel].
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

// targetDialer returns what opens channels to addresses behind the host.
func (c *Client) targetDialer() tunnel.Dialer {
	return tunnel.Dialer{Host: *c.host, Dial: opener(c.openTunnel)}
}

// opener adapts a function that opens channels for a [tunnel.Dialer].
func opener(open func(context.Context, tunnel.Address) (*tunnelChannel, error)) func(context.Context, tunnel.Address) (tunnel.Stream, *tunnel.Failure) {
	return func(ctx context.Context, to tunnel.Address) (tunnel.Stream, *tunnel.Failure) {
		ch, err := open(ctx, to)
		if err != nil {
			return nil, tunnelFailure(err)
		}
		return ch, nil
	}
}

// tunnelFailure turns an error of opening a channel into what package tunnel has to know.
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

// anywhere is the route of a proxy that connects to every address its callers name.
func anywhere(dialer tunnel.Dialer) tunnel.Route {
	return func(name string, port int) (tunnel.Dialer, tunnel.Address, *tunnel.Failure) {
		if err := checkName(name); err != nil || port == 0 {
			return dialer, tunnel.Address{}, &tunnel.Failure{Err: errors.New("no such address"), Cause: tunnel.NotAllowed}
		}
		return dialer, tunnel.Address{Host: name, Port: port}, nil
	}
}

// tunnelChannel is a channel that carries one connection through a tunnel: a
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

// newTunnelChannel counts the channel among the users of the connection, until Leave.
// Until then the SSH library may buffer a full window for every channel: a bound on what
// it reads ahead would slow down all channels to the pace of the slowest reader.
func (c *Client) newTunnelChannel(channel ssh.Channel, requests <-chan *ssh.Request) *tunnelChannel {
	c.conn.LiftReadLimit()
	c.conn.Enter()
	return &tunnelChannel{channel, requests, c}
}

// tunnelError returns the error for a tunnel to, or from, an address of the host.
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

// refusedTunnel is the answer of a host that connects to an address for nobody, or
// cannot.
type refusedTunnel struct {
	to     tunnel.Address
	reason ssh.RejectionReason
	text   string
}

func (e *refusedTunnel) Error() string { return e.to.String() + ": " + e.text }

// lostTunnel is the error of a tunnel whose client's connection has ended.
func (c *Client) lostTunnel() error {
	return &ConnectionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseForward, Err: c.conn.LostError(io.EOF)}
}

// Requests implements [tunnel.Stream], as all that follows does.
func (ch *tunnelChannel) Requests() <-chan *ssh.Request { return ch.requests }

// CloseSoon closes the channel without waiting for that.
func (ch *tunnelChannel) CloseSoon() { ch.client.conn.CloseSoon(ch.Channel) }

// Leave undoes newTunnelChannel.
func (ch *tunnelChannel) Leave() {
	ch.client.conn.RestoreReadLimit()
	ch.client.conn.Leave()
}

// Abandon closes the channel, and leaves.
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

// Lost is the error of a connection that has ended.
func (ch *tunnelChannel) Lost() error { return ch.client.lostTunnel() }
