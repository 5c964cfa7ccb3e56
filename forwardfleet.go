package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"fleetssh/internal/conn"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/tunnel"
)

// ForwardLocal listens on a local address for each host and connects each client of the tunnel
// from that host to target: see [Client.ForwardLocal]. The first host gets the port of listen
// and each other host the next one; with port 0 each gets a free one. A socket file works for a
// single host only.
//
// The slice has one tunnel for each host, in the order of Hosts. A tunnel works until it or p
// is closed: when the connection to its host is lost, the next client makes it reconnect.
// ForwardLocal connects to all hosts, so unreachable hosts are reported at once; their tunnels
// stay open and reconnect when used. Clients of an unreachable host are reset; the host is not
// tried again for two seconds after a failed attempt. Later failures are written to the Logger,
// once until the host is connected again.
//
// The error is a [*HostsError] if some hosts could not be reached. With any other error, such
// as a [*ConfigError] or a port that is taken, the slice is nil and no host was contacted. The
// tunnels outlive ctx, which bounds the call.
func (p *ParallelClient) ForwardLocal(ctx context.Context, listen, target string) ([]*Tunnel, error) {
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	return p.forwardEach(ctx, listen, func(dialer tunnel.Dialer) func(*tunnel.Tunnel, tunnel.ClientConn) {
		return func(t *tunnel.Tunnel, client tunnel.ClientConn) { t.Connect(client, to, dialer) }
	})
}

// ForwardSOCKS listens on a local address for each host and serves SOCKS on it: see
// [Client.ForwardSOCKS], and ForwardLocal for the rest. ForwardProxy serves one proxy for all
// hosts instead.
func (p *ParallelClient) ForwardSOCKS(ctx context.Context, listen string) ([]*Tunnel, error) {
	return p.forwardEach(ctx, listen, func(dialer tunnel.Dialer) func(*tunnel.Tunnel, tunnel.ClientConn) {
		return func(t *tunnel.Tunnel, client tunnel.ClientConn) { t.ServeSOCKS(client, anywhere(dialer)) }
	})
}

func (p *ParallelClient) forwardEach(ctx context.Context, listen string, serve func(tunnel.Dialer) func(*tunnel.Tunnel, tunnel.ClientConn)) ([]*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	slots, err := p.begin(hopMemory)
	if err != nil {
		return nil, err
	}
	var tunnels []*tunnel.Tunnel
	for i, s := range slots {
		own, err := at.Next(i)
		if err != nil {
			err = &ConfigError{Index: -1, Field: "listen", Reason: err.Error()}
		}
		var t *tunnel.Tunnel
		if err == nil {
			t, err = tunnel.Listen(ctx, p.d.reportTunnel, own, serve(s.reconnector(p.d).targetDialer()))
		}
		if err == nil {
			err = p.keep(t, s)
		}
		if err != nil {
			closeAll(tunnels)
			return nil, err
		}
		tunnels = append(tunnels, t)
	}
	return wrapTunnels(tunnels), p.connectAll(ctx, slots)
}

// wrapTunnels returns the exported form of tunnels.
func wrapTunnels(tunnels []*tunnel.Tunnel) []*Tunnel {
	all := make([]*Tunnel, len(tunnels))
	for i, t := range tunnels {
		all[i] = &Tunnel{t}
	}
	return all
}

// connectAll connects to all hosts.
func (p *ParallelClient) connectAll(ctx context.Context, slots []*slot) error {
	return p.each(ctx, slots, func(ctx context.Context, _ int, s *slot) error {
		_, err := s.use(ctx, s.reconnector(p.d).connect, func(*Client) error { return nil })
		return err
	}, nil)
}

// keep records a tunnel, so that Close ends it, and SetHosts when it removes host s (nil: all
// hosts). It fails if p is closed.
func (p *ParallelClient) keep(t *tunnel.Tunnel, s *slot) error {
	p.mu.Lock()
	closed := p.closed
	removed := s != nil && s.removed.Load()
	if !closed {
		if p.tunnels == nil {
			p.tunnels = make(map[*tunnel.Tunnel]*slot)
		}
		p.tunnels[t] = s
	}
	p.mu.Unlock()
	t.OnEnd(func() {
		p.mu.Lock()
		delete(p.tunnels, t)
		p.mu.Unlock()
	})
	if closed {
		t.Close()
		return &ConnectionError{Host: "all hosts", Phase: PhaseForward, Err: conn.ErrClosed}
	}
	if removed {
		t.End(s.removedTunnel())
	}
	return nil
}

// removedTunnel returns the error of a tunnel whose host SetHosts has removed.
func (s *slot) removedTunnel() error {
	return &ConnectionError{Host: s.host.name(), Port: s.host.port(), Phase: PhaseForward, Err: errRemoved}
}

func closeAll(tunnels []*tunnel.Tunnel) {
	for _, t := range tunnels {
		t.End(nil)
	}
	for _, t := range tunnels {
		_ = t.Wait() // Tunnel.Wait returns the reason to the user
	}
}

// ForwardRemote listens on every host and connects each client of the tunnel from this machine
// to target: see [Client.ForwardRemote]. The slice has one tunnel for each host, in the order
// of Hosts. When the connection to a host is lost, the tunnel reconnects until the host listens
// again. The pauses between attempts grow from one second to 30. A port that the host has
// chosen stays the same.
//
// The [*HostsError] names the hosts that could not be reached, or refused to listen, at the
// start; their tunnels keep trying, too. Until the host listens, Addr returns the address that
// was asked for.
func (p *ParallelClient) ForwardRemote(ctx context.Context, listen, target string) ([]*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	slots, err := p.begin(hopMemory)
	if err != nil {
		return nil, err
	}
	tunnels := make([]*tunnel.Tunnel, len(slots))
	relisteners := make([]*tunnel.Relistener, len(slots))
	for i, s := range slots {
		tunnels[i] = tunnel.New(p.d.reportTunnel, at.Addr())
		r := s.reconnector(p.d)
		relisteners[i] = &tunnel.Relistener{
			Tunnel: tunnels[i], At: at, Host: s.host, Refused: isSessionError,
			Ask: func(ctx context.Context, at tunnel.Address) (*tunnel.Tunnel, error) { return r.listen(ctx, at, to) },
		}
		if err := p.keep(tunnels[i], s); err != nil {
			closeAll(tunnels[:i])
			return nil, err
		}
	}
	err = p.each(ctx, slots, func(ctx context.Context, i int, _ *slot) error { return relisteners[i].Listen(ctx) }, nil)
	for _, k := range relisteners {
		k.Run()
	}
	return wrapTunnels(tunnels), err
}

// ForwardProxy listens on a local address and serves one proxy for all hosts: in this proxy, a
// host name means that host. http://web07:9100/ reaches port 9100 on web07's localhost over
// SSH. Every user of this machine who can connect to the proxy can use it; see [Tunnel] for the
// addresses it can listen on.
//
// The proxy speaks SOCKS 5, 4 and 4a without a login, and HTTP: CONNECT, and requests for http
// URLs. The name of a host is its Alias or, if no host has such an alias, its Host; case does
// not matter. "3.web1" is host number 3 of Hosts, for hosts that share a name. The proxy
// refuses all other names: SOCKS answers 2 (not allowed), HTTP 502 and a text. For an
// unreachable host it answers 4 and 502, for a refused connection 5 and 502, and for a host
// that does not answer in time 6 and 504.
//
// ForwardProxy connects to all hosts first. The error is as for ForwardLocal; with a
// [*HostsError] the tunnel is not nil. A lost connection is replaced when a client needs it.
// The tunnel outlives ctx, which bounds the call.
func (p *ParallelClient) ForwardProxy(ctx context.Context, listen string) (*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	slots, err := p.begin(hopMemory)
	if err != nil {
		return nil, err
	}
	proxy := tunnel.NewProxy(p.d.log, p.route)
	t, err := tunnel.Listen(ctx, p.d.reportTunnel, at, proxy.Serve)
	if err != nil {
		return nil, err
	}
	proxy.Run(t)
	if err := p.keep(t, nil); err != nil {
		return nil, err
	}
	return &Tunnel{t}, p.connectAll(ctx, slots)
}

// maxNamed is how many hosts of the same name an error lists.
const maxNamed = 4

// route finds the host that a client of the proxy names.
func (p *ParallelClient) route(name string, port int) (tunnel.Dialer, tunnel.Address, *tunnel.Failure) {
	p.mu.Lock()
	slots := p.slots
	p.mu.Unlock()
	found := tunnel.FindHost(name, len(slots), func(i int) (alias, host string) { return slots[i].host.Alias, slots[i].host.Host })
	text := ""
	switch {
	case port == 0:
		text = "there is no port 0"
	case len(found) == 0:
		text = fmt.Sprintf("%q is not in this fleet", sanitize.Line(name))
	case len(found) > 1:
		text = fmt.Sprintf("%q is the name of %d hosts; say", sanitize.Line(name), len(found))
		for _, i := range found[:min(len(found), maxNamed)] {
			text += fmt.Sprintf(" %d.%s (%s),", i, sanitize.Line(name), slots[i].host.String())
		}
		text = strings.TrimSuffix(text, ",")
	}
	if text != "" {
		return tunnel.Dialer{}, tunnel.Address{}, &tunnel.Failure{Err: errors.New(text), Cause: tunnel.NotAllowed}
	}
	return slots[found[0]].reconnector(p.d).targetDialer(), tunnel.Address{Host: "localhost", Port: port}, nil
}
