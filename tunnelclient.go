package fleetssh

import (
	"context"
	"errors"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/socks"
)

// helloTimeout is how long a caller of a proxy may take to say where it wants to.
const helloTimeout = 30 * time.Second

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
	return c.forward(ctx, listen, func(t *Tunnel, caller callerConn) {
		t.connect(caller, to, opening{c.host, c.openTunnel})
	})
}

// ForwardSOCKS listens on a local address and serves SOCKS 5, 4 and 4a without a login,
// connecting from the host, like ssh -D. The host looks up the names. Addresses, ctx
// and the error are as for ForwardLocal.
func (c *Client) ForwardSOCKS(ctx context.Context, listen string) (*Tunnel, error) {
	return c.forward(ctx, listen, func(t *Tunnel, caller callerConn) {
		t.serveSOCKS(caller, opening{c.host, c.openTunnel}.anywhere)
	})
}

func (c *Client) forward(ctx context.Context, listen string, serve func(*Tunnel, callerConn)) (*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	t, err := listenHere(ctx, c.d.log, at, serve)
	if err != nil {
		return nil, err
	}
	if err := t.endsWith(c); err != nil {
		return nil, err
	}
	return t, nil
}

// opening is a way to open channels to somewhere behind a host.
type opening struct {
	host *HostConfig
	open func(ctx context.Context, to endpoint) (*tunnelChannel, error)
}

// anywhere is the route of a proxy that connects to what its callers name.
func (o opening) anywhere(name string, port int) (opening, endpoint, error) {
	if err := checkName(name); err != nil || port == 0 {
		return o, endpoint{}, &routeError{"no such address"}
	}
	return o, endpoint{host: name, port: port}, nil
}

// route says by which host a proxy connects to a name, and to what there. The error is
// a *routeError.
type route func(name string, port int) (opening, endpoint, error)

// routeError means that a proxy does not connect to an address.
type routeError struct{ text string }

func (e *routeError) Error() string { return e.text }

// connect connects a caller.
func (t *Tunnel) connect(caller callerConn, to endpoint, by opening) {
	channel, err := by.open(t.ctx, to)
	if err != nil {
		_, refused := err.(*SessionError)
		if late, ok := err.(*TimeoutError); refused || ok && late.Op == "forward" {
			t.failed(by.host, err)
		}
		reset(caller)
		return
	}
	t.worked(by.host)
	channel.relay(t.ctx, caller)
}

// serveSOCKS connects a caller to where it wants.
func (t *Tunnel) serveSOCKS(caller callerConn, way route) {
	stop := context.AfterFunc(t.ctx, func() { caller.Close() })
	defer stop()
	_ = caller.SetDeadline(time.Now().Add(helloTimeout)) // it is closed, at worst
	request, err := socks.ReadRequest(caller)
	if err != nil {
		caller.Close()
		return
	}
	channel, err := t.openFor(request, way)
	_ = caller.SetDeadline(time.Now().Add(helloTimeout))
	if err != nil {
		_ = request.Answer(caller, socksReply(err)) // it has gone, at worst
		caller.Close()
		return
	}
	_ = request.Answer(caller, socks.Granted)
	_ = caller.SetDeadline(time.Time{})
	channel.relay(t.ctx, caller)
}

func (t *Tunnel) openFor(request *socks.Request, way route) (*tunnelChannel, error) {
	by, to, err := way(request.Host, request.Port)
	if err != nil {
		return nil, err
	}
	return by.open(t.ctx, to)
}

// socksReply returns what SOCKS has for the error of a channel.
func socksReply(err error) socks.Reply {
	if _, ok := errors.AsType[*routeError](err); ok {
		return socks.NotAllowed
	}
	if refused, ok := errors.AsType[*refusedTunnel](err); ok {
		switch refused.reason {
		case ssh.Prohibited:
			return socks.NotAllowed
		case ssh.ConnectionFailed:
			return socks.ConnectionRefused
		}
		return socks.GeneralFailure
	}
	if _, ok := errors.AsType[*TimeoutError](err); ok {
		return socks.TTLExpired
	}
	return socks.HostUnreachable
}
