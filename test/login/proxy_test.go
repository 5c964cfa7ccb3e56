package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// All hosts behind a hop share one connection to it, however many connect at once.
func TestProxyShared(t *testing.T) {
	t.Parallel()
	const n = 200
	first, second := fleettest.NewHop(t, nil), fleettest.NewHop(t, nil)
	fleet, hosts := fleettest.Simulated(t, n, nil)
	near := first.Config()
	far := second.Config()
	far.Proxy = &near
	for _, test := range []struct {
		name string
		hop  *fleetssh.HostConfig
		hops []string
	}{
		{"one hop", &near, []string{first.Host()}},
		{"two hops", &far, []string{first.Host(), second.Host()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, tunnels := first.Stats().Logins, first.Stats().Tunnels
			p := fleettest.NewFleet(t, fleettest.Behind(test.hop, hosts...)...)
			p.PoolSize = n
			outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo hello; cat", OpenStdin: true})
			if err != nil {
				t.Fatal(err)
			}
			for i, out := range outs {
				if _, err := fmt.Fprintln(out.Stdin, i); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Join(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			for i, out := range outs {
				if got, want := fleettest.Text(t, out.Stdout), fmt.Sprintf("hello\n%d\n", i); got != want {
					t.Fatalf("host %d: %q", i, got)
				}
			}
			if got := first.Stats().Logins - before; got != 1 {
				t.Errorf("%d logins at the hop", got)
			}
			if test.hop == &near && first.Stats().Tunnels-tunnels != n {
				t.Errorf("%d tunnels", first.Stats().Tunnels-tunnels)
			}
			c, err := p.Client(t.Context(), 7)
			if err != nil {
				t.Fatal(err)
			}
			logins := c.Logins()
			var path []string
			for _, l := range logins {
				path = append(path, l.Host.Host)
				if !slices.Equal(l.Methods, []string{"publickey"}) || l.Key == nil || l.HostKey == nil || l.Timing.Auth <= 0 {
					t.Errorf("login %+v", l)
				}
			}
			if want := append(test.hops, hosts[7].Host); !slices.Equal(path, want) {
				t.Errorf("path %v, want %v", path, want)
			}
		})
	}
	if logins := second.Stats().Logins; logins != 1 {
		t.Errorf("%d logins at the second hop", logins)
	}
	if got := fleet.Servers[0].Stats().Logins; got != 2 {
		t.Errorf("%d logins at a host", got)
	}
}

// If a hop fails, the hosts behind it, and no others, get a ProxyError that names the hop. The
// client connects to the hop once for all of them.
func TestProxyFails(t *testing.T) {
	t.Parallel()
	closedPort := fleettest.ClosedPort(t)
	_, hosts := fleettest.Simulated(t, 20, nil)
	for _, test := range []struct {
		name   string
		server func(*simfleet.Host)
		hop    func(*fleetssh.HostConfig)
		is     func(error) bool
		text   string
	}{
		{"login refused", nil, func(h *fleetssh.HostConfig) { h.Auth.Signers = []ssh.Signer{fleettest.NewKey()} }, fleettest.Is[*fleetssh.AuthenticationError], "refused (tried publickey)"},
		{"unknown host key", nil, func(h *fleetssh.HostConfig) { h.HostKeys = fleettest.NewServer(t, nil).KnownHosts() }, fleettest.Is[*fleetssh.HostKeyError], "not known"},
		{"closed port", nil, func(h *fleetssh.HostConfig) { h.Port, h.Attempts = closedPort, 2 }, fleettest.Is[*fleetssh.ConnectionError], "refused (2 attempts)"},
		{"silent", func(h *simfleet.Host) { h.Fault.Kind = simfleet.SilentAccept }, func(h *fleetssh.HostConfig) { h.ConnectTimeout = time.Second }, fleettest.Is[*fleetssh.TimeoutError], "after 1s"},
		{"unknown name", nil, func(h *fleetssh.HostConfig) { h.Host = "nosuch.invalid" }, fleettest.Is[*fleetssh.UnknownHostError], "resolve bastion"},
		{"key file", nil, func(h *fleetssh.HostConfig) { h.Auth = fleetssh.Auth{KeyFile: "/nonexistent/key"} }, fleettest.Is[*fleetssh.PKeyFileError], "/nonexistent/key"},
		{"no forwarding", func(h *simfleet.Host) { h.Dial = nil }, func(*fleetssh.HostConfig) {}, fleettest.Is[*fleetssh.SessionError], "does not forward connections to"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := fleettest.NewHop(t, test.server)
			hop := s.Config()
			hop.Alias = "bastion"
			test.hop(&hop)
			last := hop // a second hop, behind the one that fails
			last.Host, last.Port, last.Alias, last.Auth = "127.0.0.1", 1, "second hop", s.Config().Auth
			last.Proxy = &hop
			mixed := slices.Concat(fleettest.Behind(&hop, hosts[:8]...), hosts[8:16], fleettest.Behind(&last, hosts[16:]...))
			p := fleettest.NewFleet(t, mixed...)
			p.PoolSize = 3
			outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo hello"})
			failed := fleettest.AsError[*fleetssh.HostsError](t, err)
			if len(failed.Failed) != 12 {
				t.Errorf("%d failed", len(failed.Failed))
			}
			for i, out := range outs {
				if mixed[i].Proxy == nil {
					if out.Err != nil {
						t.Errorf("host %d: %v", i, out.Err)
					}
					continue
				}
				e := fleettest.AsError[*fleetssh.ProxyError](t, out.Err)
				if e.Hop != "bastion" || e.Host != mixed[i].Host || !test.is(e.Err) || !strings.Contains(e.Error(), test.text) {
					t.Errorf("host %d: %T: %v", i, e.Err, e)
				}
				if o := out.Outcome(); o.Kind != fleetssh.Unreachable || o.Phase != "proxy" {
					t.Errorf("outcome %+v", o)
				}
			}
			if n := s.Stats().Connections; n > 1 {
				t.Errorf("%d connections to the hop", n)
			}
			// A call for one host does not try the hop again so soon, a call for all hosts does.
			before := s.Stats().Connections
			if _, err := p.Client(t.Context(), 0); err == nil {
				t.Error("connected")
			}
			if n := s.Stats().Connections; n != before && test.server == nil {
				t.Errorf("%d connections to the hop, %d before", n, before)
			}
			if err := p.Connect(t.Context()); err == nil {
				t.Error("connected")
			}
			if before == 1 && test.server == nil && s.Stats().Connections != 2 {
				t.Errorf("%d connections to the hop after two calls", s.Stats().Connections)
			}
		})
	}
}

// If the hop works, a failure of a host behind it is the host's own error, not a ProxyError.
func TestProxyTargetFails(t *testing.T) {
	t.Parallel()
	var dial func(context.Context, string, string) (net.Conn, error)
	hop := fleettest.NewHop(t, func(h *simfleet.Host) {
		h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			switch {
			case strings.HasPrefix(addr, "unknown"):
				return nil, errors.New("Name or service not known")
			case strings.HasPrefix(addr, "closed"):
				return nil, errors.New("Connection refused")
			case strings.HasPrefix(addr, "silent"):
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return dial(ctx, network, addr)
		}
	}).Config()
	dial = simfleet.DialLoopback
	good := fleettest.NewServer(t, nil)
	bad := fleettest.Faulty(t, simfleet.StallAuth).Config()
	bad.ConnectTimeout = fleettest.Lapse
	wrong := good.Config()
	wrong.Auth.Signers = []ssh.Signer{fleettest.NewKey()}
	changed := good.Config()
	changed.HostKeys = fleettest.NewServer(t, nil).KnownHosts()
	named := func(name string) fleetssh.HostConfig {
		h := good.Config()
		h.Host, h.ConnectTimeout = name, fleettest.Lapse
		return h
	}
	hosts := fleettest.Behind(&hop, good.Config(), named("unknown"), named("closed"), named("silent"), bad, wrong, changed, good.Config())
	p := fleettest.NewFleet(t, hosts...)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	if n := len(fleettest.AsError[*fleetssh.HostsError](t, err).Failed); n != 6 {
		t.Errorf("%d failed: %v", n, err)
	}
	for i, want := range []func(error) bool{
		func(err error) bool { return err == nil }, fleettest.Is[*fleetssh.UnknownHostError], fleettest.Is[*fleetssh.ConnectionError], fleettest.Is[*fleetssh.TimeoutError],
		fleettest.Is[*fleetssh.TimeoutError], fleettest.Is[*fleetssh.AuthenticationError], fleettest.Is[*fleetssh.HostKeyError], func(err error) bool { return err == nil },
	} {
		if !want(outs[i].Err) || fleettest.Is[*fleetssh.ProxyError](outs[i].Err) {
			t.Errorf("host %d: %T: %v", i, outs[i].Err, outs[i].Err)
		}
	}
	if phase := outs[3].Outcome().Phase; phase != "connect" {
		t.Errorf("phase of the silent host: %q", phase)
	}
}

// The client opens a limited number of channels through a hop at once. ConnectTimeout of a host
// does not include the wait for its turn.
func TestProxyChannelsAtOnce(t *testing.T) {
	t.Parallel()
	const n, limit = 300, 128
	var now, most atomic.Int32
	release := make(chan struct{})
	full := make(chan struct{})
	once := sync.OnceFunc(func() { close(full) })
	hop := fleettest.NewHop(t, func(h *simfleet.Host) {
		h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if at := now.Add(1); at > most.Load() {
				most.Store(at)
				if at == limit {
					once()
				}
			}
			defer now.Add(-1)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return simfleet.DialLoopback(ctx, network, addr)
		}
	}).Config()
	s := fleettest.NewServer(t, nil)
	p := fleettest.NewFleet(t, fleettest.Behind(&hop, slices.Repeat([]fleetssh.HostConfig{s.Config()}, n)...)...)
	p.PoolSize = n
	done := make(chan error, 1)
	go func() { done <- p.Connect(t.Context()) }()
	<-full
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if most.Load() > limit {
		t.Errorf("%d channels at once", most.Load())
	}
}

func TestProxyConfig(t *testing.T) {
	t.Parallel()
	a, b := fleetssh.HostConfig{Host: "a"}, fleetssh.HostConfig{Host: "b", Proxy: &fleetssh.HostConfig{}}
	a.Proxy = &a
	dial := func(context.Context, string, string) (net.Conn, error) { panic("called") }
	for _, test := range []struct {
		host  fleetssh.HostConfig
		field string
		text  string
	}{
		{a, "HostConfig.Proxy", "leads to itself"},
		{b, "HostConfig.Proxy.Host", "empty"},
		{fleetssh.HostConfig{Host: "a", Proxy: &fleetssh.HostConfig{Host: "b", Port: -1}}, "HostConfig.Proxy.Port", "-1"},
		{fleetssh.HostConfig{Host: "a", Proxy: &fleetssh.HostConfig{Host: "b"}, DialContext: dial}, "HostConfig.DialContext", "together"},
		{fleetssh.HostConfig{Host: "a", ControlPath: "/tmp/%x"}, "HostConfig.ControlPath", `"%x"`},
		{fleetssh.HostConfig{Host: "a", ControlPath: "/tmp/%"}, "HostConfig.ControlPath", "ends"},
	} {
		_, err := fleetssh.Dial(t.Context(), test.host)
		if e := fleettest.AsError[*fleetssh.ConfigError](t, err); e.Field != test.field || !strings.Contains(e.Reason, test.text) {
			t.Errorf("%+v", e)
		}
		p := fleettest.NewFleet(t, fleetssh.HostConfig{Host: "127.0.0.1"}, test.host)
		if e := fleettest.AsError[*fleetssh.ConfigError](t, p.Connect(t.Context())); e.Field != test.field || e.Index != 1 {
			t.Errorf("%+v", e)
		}
	}
}

// SetHosts closes the connection to a hop that no host uses any more.
func TestProxySetHosts(t *testing.T) {
	t.Parallel()
	s, other := fleettest.NewHop(t, nil), fleettest.NewHop(t, nil)
	hop, second := s.Config(), other.Config()
	host := fleettest.NewServer(t, nil).Config()
	p := fleettest.NewFleet(t, fleettest.Behind(&hop, host, host)...)
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := p.Client(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	p.SetHosts(slices.Concat(fleettest.Behind(&hop, host), fleettest.Behind(&second, host)))
	if again, err := p.Client(t.Context(), 0); err != nil || again != kept {
		t.Errorf("the connection to the host that stayed was replaced: %v", err)
	}
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.SetHosts(fleettest.Behind(&second, host))
	fleettest.Eventually(t, "the end of the first hop's connection", func() bool { return s.Stats().Open == 0 })
	if other.Stats().Open != 1 {
		t.Error("the connection to the second hop was closed")
	}
}

// Much output of many hosts arrives complete through one hop.
func TestProxyOutput(t *testing.T) {
	t.Parallel()
	hop := fleettest.NewHop(t, nil).Config()
	s := fleettest.NewServer(t, func(h *simfleet.Host) { h.MaxSessions = 1000 })
	const n, size = 20, 4 << 20
	p := fleettest.NewFleet(t, fleettest.Behind(&hop, slices.Repeat([]fleetssh.HostConfig{s.Config()}, n)...)...)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: fmt.Sprintf("bytes %d", size)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Join(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for i, out := range outs {
		if got := len(fleettest.Text(t, out.Stdout)); got != size {
			t.Errorf("host %d: %d bytes", i, got)
		}
	}
}
