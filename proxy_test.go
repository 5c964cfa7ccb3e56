package fleetssh_test

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
	"fleetssh/internal/simfleet"
)

// newHop starts a host that others are reached through.
func newHop(t testing.TB, change func(*simfleet.Host)) server {
	t.Helper()
	return newServer(t, func(h *simfleet.Host) {
		h.Dial = simfleet.DialLoopback
		if change != nil {
			change(h)
		}
	})
}

// behind returns hosts as they are reached through a hop.
func behind(hop *fleetssh.HostConfig, hosts ...fleetssh.HostConfig) []fleetssh.HostConfig {
	hosts = slices.Clone(hosts)
	for i := range hosts {
		hosts[i].Proxy = hop
	}
	return hosts
}

// All hosts behind a hop share one connection to it, however many ask at once.
func TestProxyShared(t *testing.T) {
	t.Parallel()
	const n = 200
	first, second := newHop(t, nil), newHop(t, nil)
	fleet, hosts := simulated(t, n, nil)
	near := first.config()
	far := second.config()
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
			p := newFleet(t, behind(test.hop, hosts...)...)
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
				if got, want := text(t, out.Stdout), fmt.Sprintf("hello\n%d\n", i); got != want {
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
			var way []string
			for _, l := range logins {
				way = append(way, l.Host.Host)
				if !slices.Equal(l.Methods, []string{"publickey"}) || l.Key == nil || l.HostKey == nil || l.Timing.Auth <= 0 {
					t.Errorf("login %+v", l)
				}
			}
			if want := append(test.hops, hosts[7].Host); !slices.Equal(way, want) {
				t.Errorf("way %v, want %v", way, want)
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

// What fails on a hop is a ProxyError that names it, for the hosts behind it and
// no others, and the hop is asked once.
func TestProxyFails(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().(*net.TCPAddr).Port
	free.Close()
	_, hosts := simulated(t, 20, nil)
	for _, test := range []struct {
		name   string
		server func(*simfleet.Host)
		hop    func(*fleetssh.HostConfig)
		is     func(error) bool
		text   string
	}{
		{"login refused", nil, func(h *fleetssh.HostConfig) { h.Auth.Signers = []ssh.Signer{newKey()} }, is[*fleetssh.AuthenticationError], "refused (tried publickey)"},
		{"unknown host key", nil, func(h *fleetssh.HostConfig) { h.HostKeys = newServer(t, nil).knownHosts() }, is[*fleetssh.HostKeyError], "not known"},
		{"nobody listens", nil, func(h *fleetssh.HostConfig) { h.Port, h.Attempts = nobody, 2 }, is[*fleetssh.ConnectionError], "refused (2 attempts)"},
		{"silent", func(h *simfleet.Host) { h.Fault.Kind = simfleet.SilentAccept }, func(h *fleetssh.HostConfig) { h.ConnectTimeout = time.Second }, is[*fleetssh.TimeoutError], "after 1s"},
		{"unknown name", nil, func(h *fleetssh.HostConfig) { h.Host = "nosuch.invalid" }, is[*fleetssh.UnknownHostError], "resolve bastion"},
		{"key file", nil, func(h *fleetssh.HostConfig) { h.Auth = fleetssh.Auth{KeyFile: "/nonexistent/key"} }, is[*fleetssh.PKeyFileError], "/nonexistent/key"},
		{"no forwarding", func(h *simfleet.Host) { h.Dial = nil }, func(*fleetssh.HostConfig) {}, is[*fleetssh.SessionError], "does not forward connections to"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newHop(t, test.server)
			hop := s.config()
			hop.Alias = "bastion"
			test.hop(&hop)
			last := hop // in front of another
			last.Host, last.Port, last.Alias, last.Auth = "127.0.0.1", 1, "behind it", s.config().Auth
			last.Proxy = &hop
			mixed := slices.Concat(behind(&hop, hosts[:8]...), hosts[8:16], behind(&last, hosts[16:]...))
			p := newFleet(t, mixed...)
			p.PoolSize = 3
			outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo hello"})
			failed := asError[*fleetssh.HostsError](t, err)
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
				e := asError[*fleetssh.ProxyError](t, out.Err)
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
			// A call for one host does not try again so soon, another does.
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

// What fails behind a good hop is the host's own error.
func TestProxyTargetFails(t *testing.T) {
	t.Parallel()
	var dial func(context.Context, string, string) (net.Conn, error)
	hop := newHop(t, func(h *simfleet.Host) {
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
	}).config()
	dial = simfleet.DialLoopback
	good := newServer(t, nil)
	bad := faulty(t, simfleet.StallAuth).config()
	bad.ConnectTimeout = time.Second
	wrong := good.config()
	wrong.Auth.Signers = []ssh.Signer{newKey()}
	changed := good.config()
	changed.HostKeys = newServer(t, nil).knownHosts()
	named := func(name string) fleetssh.HostConfig {
		h := good.config()
		h.Host, h.ConnectTimeout = name, time.Second
		return h
	}
	hosts := behind(&hop, good.config(), named("unknown"), named("closed"), named("silent"), bad, wrong, changed, good.config())
	p := newFleet(t, hosts...)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	if n := len(asError[*fleetssh.HostsError](t, err).Failed); n != 6 {
		t.Errorf("%d failed: %v", n, err)
	}
	for i, want := range []func(error) bool{
		func(err error) bool { return err == nil }, is[*fleetssh.UnknownHostError], is[*fleetssh.ConnectionError], is[*fleetssh.TimeoutError],
		is[*fleetssh.TimeoutError], is[*fleetssh.AuthenticationError], is[*fleetssh.HostKeyError], func(err error) bool { return err == nil },
	} {
		if !want(outs[i].Err) || is[*fleetssh.ProxyError](outs[i].Err) {
			t.Errorf("host %d: %T: %v", i, outs[i].Err, outs[i].Err)
		}
	}
	if phase := outs[3].Outcome().Phase; phase != "connect" {
		t.Errorf("phase of the silent host: %q", phase)
	}
}

// The hop opens a limited number of channels at once, and hosts that wait for
// their turn lose nothing of their own time.
func TestProxyChannelsAtOnce(t *testing.T) {
	t.Parallel()
	const n, limit = 300, 128
	var now, most atomic.Int32
	release := make(chan struct{})
	full := make(chan struct{})
	once := sync.OnceFunc(func() { close(full) })
	hop := newHop(t, func(h *simfleet.Host) {
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
	}).config()
	s := newServer(t, nil)
	p := newFleet(t, behind(&hop, slices.Repeat([]fleetssh.HostConfig{s.config()}, n)...)...)
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
		if e := asError[*fleetssh.ConfigError](t, err); e.Field != test.field || !strings.Contains(e.Reason, test.text) {
			t.Errorf("%+v", e)
		}
		p := newFleet(t, fleetssh.HostConfig{Host: "127.0.0.1"}, test.host)
		if e := asError[*fleetssh.ConfigError](t, p.Connect(t.Context())); e.Field != test.field || e.Host != 1 {
			t.Errorf("%+v", e)
		}
	}
}

// Hosts that are no longer there leave no connection to their hop.
func TestProxySetHosts(t *testing.T) {
	t.Parallel()
	s, other := newHop(t, nil), newHop(t, nil)
	hop, second := s.config(), other.config()
	host := newServer(t, nil).config()
	p := newFleet(t, behind(&hop, host, host)...)
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := p.Client(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	p.SetHosts(slices.Concat(behind(&hop, host), behind(&second, host)))
	if again, err := p.Client(t.Context(), 0); err != nil || again != kept {
		t.Errorf("another connection to a host that stayed: %v", err)
	}
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.SetHosts(behind(&second, host))
	eventually(t, "the end of the first hop's connection", func() bool { return s.Stats().Open == 0 })
	if other.Stats().Open != 1 {
		t.Error("the second hop was left")
	}
}

// Much output of many hosts comes whole through one hop.
func TestProxyOutput(t *testing.T) {
	t.Parallel()
	hop := newHop(t, nil).config()
	s := newServer(t, func(h *simfleet.Host) { h.MaxSessions = 1000 })
	const n, size = 20, 4 << 20
	p := newFleet(t, behind(&hop, slices.Repeat([]fleetssh.HostConfig{s.config()}, n)...)...)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: fmt.Sprintf("bytes %d", size)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Join(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for i, out := range outs {
		if got := len(text(t, out.Stdout)); got != size {
			t.Errorf("host %d: %d bytes", i, got)
		}
	}
}
