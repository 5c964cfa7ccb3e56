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

// The listeners of the SSH library block the whole connection while an accepted channel waits
// for Accept (golang.org/issue/77035). This file therefore handles the requests and channels of
// remote forwarding itself (RFC 4254, section 7; OpenSSH's PROTOCOL, section 2.4). Each channel
// is served at once, on its own goroutine, up to a limit.

const (
	forwardedTCP  = "forwarded-tcpip"
	forwardedUnix = "forwarded-streamlocal@openssh.com"
)

// Listen listens on an address of the host, as [net.Listen] does on this machine: "host:port"
// with the network "tcp", or the path of a socket with "unix". The listener fits
// [net/http.Serve] and everything else that takes a [net.Listener]. With port 0 the host
// chooses a port, which Addr holds. Addr returns a [*net.TCPAddr] unless the host in address is
// a name.
//
// As for net.Listen, no host means all addresses of the host. sshd listens on other addresses
// than its loopback ones only if its GatewayPorts allows it, and on a port below 1024 only for
// root. For the socket file see [Tunnel]. Listen does not work over an OpenSSH master
// (ControlPath).
//
// Accepted connections are like the connections of [Client.DialContext], and outlive the
// listener. Up to 1024 connections wait for Accept; the host drops further ones. Accept returns
// [net.ErrClosed] after Close, and a [*ConnectionError] when the connection to the host has
// ended, each in a [*net.OpError]. Close may be called more than once.
//
// The listener outlives ctx, which bounds the call. The error is a [*ConfigError], a
// [*SessionError] if the host does not listen, a [*TimeoutError] or a [*ConnectionError].
func (c *Client) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	at, err := listenAddress(network, address)
	if err != nil {
		return nil, err
	}
	l := &netListener{clients: make(chan *remoteClient)}
	if l.tunnel, err = c.listen(ctx, at, l.offer); err != nil {
		return nil, err
	}
	return l, nil
}

// listenAddress returns the address that the arguments of a listen function stand for.
func listenAddress(network, address string) (tunnel.Address, error) {
	switch network {
	case "tcp":
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return tunnel.Address{}, &ConfigError{Index: -1, Field: "address", Reason: err.Error()}
		}
		if host == "" {
			address = "*:" + port
		}
	case "unix":
		address = "unix:" + address
	default:
		return tunnel.Address{}, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	return parseListen(address)
}

// netListener is the [net.Listener] of Listen.
type netListener struct {
	tunnel  *tunnel.Tunnel // ends with the listener; it carries no connections
	clients chan *remoteClient
}

// offer waits until Accept takes the client or the listener ends.
func (l *netListener) offer(remote *remoteClient) {
	select {
	case l.clients <- remote:
	case <-remote.tunnel.Context().Done():
		remote.refuse(ssh.ConnectionFailed, "the listener is closed")
	}
}

// Accept implements [net.Listener].
func (l *netListener) Accept() (net.Conn, error) {
	for {
		select {
		case remote := <-l.clients:
			stream, err := remote.accept()
			if err != nil {
				continue // the connection or the listener has ended: the next round returns why
			}
			if c, err := tunnel.NewConn(context.Background(), stream, l.Addr(), remote.from); err == nil {
				return c, nil
			}
		case <-l.tunnel.Context().Done():
			err := l.tunnel.Wait()
			if err == nil {
				err = net.ErrClosed
			}
			return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
		}
	}
}

// Close implements [net.Listener].
func (l *netListener) Close() error { return l.tunnel.Close() }

// Addr implements [net.Listener].
func (l *netListener) Addr() net.Addr { return l.tunnel.Addr() }

// ForwardRemote listens on the host and connects each client of the tunnel from this machine to
// target, like ssh -R. See [Tunnel] for how addresses are written, and [Client.Listen] for the
// addresses on which sshd listens. A client is refused if nobody listens at target.
//
// The tunnel outlives ctx, which bounds the call. The error is as for Listen.
func (c *Client) ForwardRemote(ctx context.Context, listen, target string) (*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	t, err := c.listen(ctx, at, forwardTo(to))
	if err != nil {
		return nil, err
	}
	return &Tunnel{t}, nil
}

// forwardTo returns a function that connects clients to an address on this side.
func forwardTo(to tunnel.Address) func(*remoteClient) {
	return func(remote *remoteClient) {
		t, host := remote.tunnel, *remote.client.host
		dialer := net.Dialer{Timeout: host.connectTimeout()}
		target, err := dialer.DialContext(t.Context(), to.Network(), to.String())
		if err != nil {
			t.TargetFailed(host, err)
			remote.refuse(ssh.ConnectionFailed, sanitize.Line(transport.WithoutAddress(err).Error()))
			return
		}
		t.TargetReached(host)
		stream, err := remote.accept()
		if err != nil {
			target.Close()
			return
		}
		tunnel.Relay(t.Context(), stream, target.(tunnel.ClientConn))
	}
}

// listeners are the addresses that a host listens on for a client.
type listeners struct {
	mu   sync.Mutex // protects what follows
	open []*listener
}

// listener is one address that a host listens on. It lives as long as its tunnel.
type listener struct {
	client *Client
	tunnel *tunnel.Tunnel
	serve  func(*remoteClient) // on a goroutine of the tunnel; must accept or refuse the client

	ready chan struct{}  // closed when at is final
	at    tunnel.Address // with port 0 until ready, if the host is to choose one
}

// listen makes the host listen on an address, and calls serve for each client.
func (c *Client) listen(ctx context.Context, at tunnel.Address, serve func(*remoteClient)) (*tunnel.Tunnel, error) {
	if c.login.Master != "" {
		return nil, &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseListen, Err: errors.New("an OpenSSH master does not pass on the reply to this request; connect without a master (ControlPath)")}
	}
	l := &listener{client: c, tunnel: tunnel.New(c.d.reportTunnel, at.Addr()), serve: serve, at: at, ready: make(chan struct{})}
	if !c.listeners.add(l) {
		return nil, &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseListen, Err: fmt.Errorf("%s: another tunnel already listens on this address", at.String())}
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
	c.listeners.setAddress(l, at)
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

// port reads the port that the host listens on from its answer.
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
// the answer: the host's channels for the tunnel are refused in any case.
func (l *listener) cancel() {
	l.client.listeners.remove(l)
	if l.client.conn.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), conn.CloseGrace)
	defer cancel()
	_ = l.client.conn.Call(ctx, conn.Call{Do: func() error { return l.askToStop(l.at.Port) }}) // without an answer, clients are still refused
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

// setAddress sets the final address of a listener.
func (ls *listeners) setAddress(l *listener, at tunnel.Address) {
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

// remoteClient is a client that has connected to a listener on the host: its channel waits to
// be accepted or refused.
type remoteClient struct {
	*listener
	channel ssh.NewChannel
	from    net.Addr // the client's address, as the host reports it
}

// errBusy is the reason for refusing a channel of a tunnel that carries as many as it may.
var errBusy = errors.New("too many connections")

// accept serves a channel that a host opens. ours is false if the channel belongs to no
// listener, or is malformed. On an error the connection must refuse the channel.
func (ls *listeners) accept(asked ssh.NewChannel) (ours bool, err error) {
	remote := &remoteClient{channel: asked}
	var at tunnel.Address
	switch asked.ChannelType() {
	case forwardedTCP:
		var m struct {
			Host       string
			Port       uint32
			Origin     string
			OriginPort uint32
		}
		err = ssh.Unmarshal(asked.ExtraData(), &m)
		at = tunnel.Address{Host: m.Host, Port: int(m.Port)}
		remote.from = tunnel.Address{Host: sanitize.Line(m.Origin), Port: int(m.OriginPort)}.Addr()
	case forwardedUnix:
		var m struct{ Path, Reserved string }
		err = ssh.Unmarshal(asked.ExtraData(), &m)
		at = tunnel.Address{Path: m.Path}
		remote.from = &net.UnixAddr{Name: "@", Net: "unix"} // without a name, which net prints as "@"
	default:
		return false, nil
	}
	if err != nil || at == (tunnel.Address{}) {
		return false, nil
	}
	l := ls.find(at)
	if l == nil {
		return false, nil
	}
	remote.listener = l
	ok, busy := l.tunnel.Take(func() { l.serveAt(at, remote) })
	if busy {
		return true, errBusy
	}
	return ok, nil
}

// serveAt serves a client that has connected to an address, after waiting until it is known
// whether the host listens there.
func (l *listener) serveAt(at tunnel.Address, remote *remoteClient) {
	select {
	case <-l.ready:
	case <-l.tunnel.Context().Done():
	}
	if l.at.Port != at.Port || l.tunnel.Context().Err() != nil {
		remote.refuse(ssh.Prohibited, "not asked for")
		return
	}
	l.serve(remote)
}

// accept opens the client's channel. It fails only when the tunnel or the connection has ended.
func (r *remoteClient) accept() (*tunnelChannel, error) {
	var channel ssh.Channel
	var requests <-chan *ssh.Request
	err := r.client.conn.Call(r.tunnel.Context(), conn.Call{
		Do: func() (err error) {
			channel, requests, err = r.channel.Accept()
			return err
		},
		Late: func(err error) {
			if err == nil {
				r.client.conn.Discard(channel, requests)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return r.client.newTunnelChannel(channel, requests), nil
}

// refuse refuses the client's channel. It waits until the refusal is written, but no longer
// than the tunnel lasts.
func (r *remoteClient) refuse(reason ssh.RejectionReason, text string) {
	_ = r.client.conn.Call(r.tunnel.Context(), conn.Call{Do: func() error { return r.channel.Reject(reason, text) }}) // it fails only with the connection
}
