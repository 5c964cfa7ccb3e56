package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/transport"
	"fleetssh/internal/tunnel"
)

// The SSH library's own listeners block the whole connection while an accepted channel
// waits to be taken (golang.org/issue/77035). So the requests and channels of remote
// forwarding (RFC 4254, section 7; OpenSSH's PROTOCOL, section 2.4) are handled here: each
// channel at once, on a goroutine of its own, up to a limit.

const (
	forwardedTCP  = "forwarded-tcpip"
	forwardedUnix = "forwarded-streamlocal@openssh.com"
)

// listeners are the addresses that a host listens on for a client.
type listeners struct {
	mu   sync.Mutex // protects what follows
	open []*listener
}

// listener is one address that a host listens on.
type listener struct {
	client *Client
	tunnel *tunnel.Tunnel
	to     tunnel.Address // the target, on this side

	ready chan struct{}  // closed when at is final
	at    tunnel.Address // with port 0 until ready, if the host is to choose one
}

// ForwardRemote listens on the host and connects each caller from here to target, like
// ssh -R; see [Tunnel] for how addresses are written. sshd listens on other addresses
// than its loopback ones only if its GatewayPorts allows it, and on a port below 1024
// only for root. ForwardRemote does not work over an OpenSSH master (ControlPath).
//
// The tunnel outlives ctx, which bounds the call. The error is a [*ConfigError], a
// [*SessionError] if the host does not listen, a [*TimeoutError] or a
// [*ConnectionError].
func (c *Client) ForwardRemote(ctx context.Context, listen, target string) (*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	t, err := c.listen(ctx, at, to)
	if err != nil {
		return nil, err
	}
	return &Tunnel{t}, nil
}

func (c *Client) listen(ctx context.Context, at, to tunnel.Address) (*tunnel.Tunnel, error) {
	if c.login.master != "" {
		return nil, &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseListen, Err: errors.New("an OpenSSH master does not hand on the answer to that; connect without it (ControlPath)")}
	}
	l := &listener{client: c, tunnel: tunnel.New(c.d.log, at.Addr()), to: to, at: at, ready: make(chan struct{})}
	if !c.listeners.add(l) {
		return nil, &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseListen, Err: fmt.Errorf("%s: there is a tunnel from it already", at.String())}
	}
	c.conn.Enter()
	port, err := l.ask(ctx)
	if err != nil {
		c.conn.Leave()
		c.listeners.remove(l)
		l.tunnel.End(err)
		close(l.ready)
		return nil, err
	}
	at.Port = port
	c.listeners.settle(l, at)
	l.tunnel.SetAddr(at.Addr())
	l.tunnel.OnEnd(func() {
		l.cancel()
		c.conn.Leave()
	})
	if err := c.endTunnel(l.tunnel); err != nil {
		return nil, err
	}
	return l.tunnel, nil
}

// ask asks the host to listen, and returns the port.
func (l *listener) ask(ctx context.Context) (int, error) {
	c := l.client
	ctx, cancel := c.starting(ctx)
	defer cancel()
	var granted bool
	var answer []byte
	name, payload := "tcpip-forward", l.payload(l.at.Port)
	if l.at.Path != "" {
		name = "streamlocal-forward@openssh.com"
	}
	err := c.conn.Call(ctx, conn.Call{
		Do: func() (err error) {
			granted, answer, err = c.conn.Link().SendRequest(name, true, payload)
			return err
		},
		Late: func(err error) {
			if port, portErr := l.port(answer); err == nil && granted && portErr == nil {
				l.askToStop(port)
			}
		},
	})
	switch {
	case err != nil:
		return 0, c.sessionError(ctx, PhaseListen, err)
	case !granted && l.at.Path != "":
		err = fmt.Errorf("%s: refused: the host does not allow it (AllowStreamLocalForwarding), or the file exists (StreamLocalBindUnlink)", l.at.Path)
	case !granted:
		err = fmt.Errorf("%s: refused: the host does not allow it (AllowTcpForwarding, PermitListen), or the port is taken", l.at.String())
	default:
		var port int
		if port, err = l.port(answer); err == nil {
			return port, nil
		}
	}
	return 0, &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseListen, Err: err}
}

// payload returns the payload of the requests to listen and to stop listening.
func (l *listener) payload(port int) []byte {
	if l.at.Path != "" {
		return ssh.Marshal(struct{ Path string }{l.at.Path})
	}
	return ssh.Marshal(struct {
		Host string
		Port uint32
	}{l.at.Host, uint32(port)})
}

// port returns the port that the host listens on, from its answer.
func (l *listener) port(answer []byte) (int, error) {
	if l.at.Path != "" || l.at.Port != 0 {
		return l.at.Port, nil
	}
	var chosen struct{ Port uint32 }
	if err := ssh.Unmarshal(answer, &chosen); err != nil || chosen.Port == 0 || chosen.Port > 65535 {
		return 0, errors.New("the host does not tell which port it has chosen")
	}
	return int(chosen.Port), nil
}

// cancel asks the host to stop listening after the tunnel has ended. It does not wait long for
// the answer: callers are refused in any case.
func (l *listener) cancel() {
	l.client.listeners.remove(l)
	if l.client.conn.Broken() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), conn.CloseGrace)
	defer cancel()
	_ = l.client.conn.Call(ctx, conn.Call{Do: func() error { return l.askToStop(l.at.Port) }}) // without an answer callers are still refused
}

func (l *listener) askToStop(port int) error {
	name := "cancel-tcpip-forward"
	if l.at.Path != "" {
		name = "cancel-streamlocal-forward@openssh.com"
	}
	_, _, err := l.client.conn.Link().SendRequest(name, true, l.payload(port))
	return err
}

// add adds a listener. It returns false if there is one at the same address.
func (ls *listeners) add(l *listener) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, other := range ls.open {
		if other.at == l.at && (l.at.Path != "" || l.at.Port != 0) {
			return false
		}
	}
	ls.open = append(ls.open, l)
	return true
}

func (ls *listeners) remove(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for i, other := range ls.open {
		if other == l {
			ls.open = append(ls.open[:i:i], ls.open[i+1:]...)
			return
		}
	}
}

// settle sets the final address of a listener.
func (ls *listeners) settle(l *listener, at tunnel.Address) {
	ls.mu.Lock()
	l.at = at
	ls.mu.Unlock()
	close(l.ready)
}

// find returns the listener that a channel belongs to. A listener whose port is not known yet
// matches if no other does: a channel may arrive before the answer with the port.
func (ls *listeners) find(at tunnel.Address) *listener {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var likely *listener
	for _, l := range ls.open {
		switch {
		case l.at == at:
			return l
		case at.Path != "" || l.at.Path != "":
		case l.at.Port == at.Port || l.at.Port == 0 && l.at.Host == at.Host:
			likely = l // the host may write its address in another form
		}
	}
	return likely
}

// errBusy is why a channel of a tunnel is refused.
var errBusy = errors.New("too many connections")

// accept serves a channel that a host opens. ours is false if the channel belongs to no
// tunnel, or is malformed. On an error the caller must refuse the channel.
func (ls *listeners) accept(asked ssh.NewChannel) (ours bool, err error) {
	var from tunnel.Address
	switch asked.ChannelType() {
	case forwardedTCP:
		var m struct {
			Host       string
			Port       uint32
			Origin     string
			OriginPort uint32
		}
		err = ssh.Unmarshal(asked.ExtraData(), &m)
		from = tunnel.Address{Host: m.Host, Port: int(m.Port)}
	case forwardedUnix:
		var m struct{ Path, Reserved string }
		err = ssh.Unmarshal(asked.ExtraData(), &m)
		from = tunnel.Address{Path: m.Path}
	default:
		return false, nil
	}
	if err != nil || from == (tunnel.Address{}) {
		return false, nil
	}
	l := ls.find(from)
	if l == nil {
		return false, nil
	}
	ok, busy := l.tunnel.Take(func() { l.serve(asked, from) })
	if busy {
		return true, errBusy
	}
	return ok, nil
}

// serve connects a caller.
func (l *listener) serve(asked ssh.NewChannel, from tunnel.Address) {
	t := l.tunnel
	select {
	case <-l.ready:
	case <-t.Context().Done():
	}
	if l.at.Port != from.Port || t.Context().Err() != nil {
		l.refuse(asked, ssh.Prohibited, "not asked for")
		return
	}
	dialer := net.Dialer{Timeout: l.client.host.connectTimeout()}
	target, err := dialer.DialContext(t.Context(), l.to.Network(), l.to.String())
	if err != nil {
		t.Failed(*l.client.host, err)
		l.refuse(asked, ssh.ConnectionFailed, sanitize.Line(transport.WithoutAddress(err).Error()))
		return
	}
	t.Worked(*l.client.host)
	var channel ssh.Channel
	var requests <-chan *ssh.Request
	err = l.client.conn.Call(t.Context(), conn.Call{
		Do: func() (err error) {
			channel, requests, err = asked.Accept()
			return err
		},
		Late: func(err error) {
			if err == nil {
				l.client.conn.Discard(channel, requests)
			}
		},
	})
	if err != nil {
		target.Close()
		return
	}
	tunnel.Relay(t.Context(), l.client.newTunnelChannel(channel, requests), target.(tunnel.Caller))
}

// refuse refuses a channel. It waits until that is written, but no longer than the tunnel lasts.
func (l *listener) refuse(asked ssh.NewChannel, reason ssh.RejectionReason, text string) {
	_ = l.client.conn.Call(l.tunnel.Context(), conn.Call{Do: func() error { return asked.Reject(reason, text) }}) // it fails only with the connection
}
