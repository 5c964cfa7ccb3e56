package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// If the connection to a hop is lost, the commands behind it are lost, and the next command
// connects to the hop again.
func TestProxyDies(t *testing.T) {
	t.Parallel()
	s := fleettest.NewHop(t, nil)
	hop := s.Config()
	hop.Alias = "bastion"
	fleet, hosts := fleettest.Simulated(t, 5, nil)
	p := fleettest.NewFleet(t, fleettest.Behind(&hop, hosts...)...)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo started; sleep 60"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.Drop()
		for _, out := range outs {
			out.WaitFinished(t.Context())
			if o := out.Outcome(); o.Kind != fleetssh.Lost {
				t.Errorf("%v: %v", o.Kind, out.WaitFinished(t.Context()))
			}
		}
		if err := p.Join(t.Context(), nil); !strings.Contains(err.Error(), "connection lost: the connection to the hop bastion") {
			t.Error(err)
		}
		if outs, err = p.RunCommand(t.Context(), fleetssh.Command{Line: "echo started; sleep 60"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Logins; n != 4 {
		t.Errorf("%d logins at the hop", n)
	}
	if n := fleet.Servers[0].Stats().Logins; n != 4 {
		t.Errorf("%d logins at a host", n)
	}
}

// If the connection to a hop is lost while a host logs in, the host's next attempt connects to
// the hop again. Without a next attempt, the error names the hop.
func TestProxyDiesDuringLogin(t *testing.T) {
	t.Parallel()
	for _, attempts := range []int{1, 2} {
		t.Run(fmt.Sprint(attempts), func(t *testing.T) {
			t.Parallel()
			s := fleettest.NewHop(t, nil)
			hop := s.Config()
			target := fleettest.NewServer(t, func(h *simfleet.Host) { h.Fault.Kind = simfleet.StallAuth })
			host := target.Config()
			host.Proxy, host.Attempts, host.ConnectTimeout = &hop, attempts, fleettest.Patience
			done := make(chan error, 1)
			go func() {
				c, err := fleetssh.Dial(t.Context(), host)
				if err == nil {
					c.Close()
				}
				done <- err
			}()
			fleettest.Eventually(t, "the tunnel", func() bool { return target.Stats().Connections == 1 })
			target.SetFault(simfleet.Fault{})
			s.Drop()
			err := <-done
			if attempts == 2 {
				if err != nil || s.Stats().Logins != 2 {
					t.Errorf("%d logins at the hop: %v", s.Stats().Logins, err)
				}
				return
			}
			if e := fleettest.AsError[*fleetssh.ProxyError](t, err); e.Hop != hop.Host || !fleettest.Is[*fleetssh.ConnectionError](e.Err) {
				t.Error(e)
			}
		})
	}
}

// If a hop drops connections before the login, as sshd does for too many unauthenticated
// connections (MaxStartups), the client opens them more slowly.
func TestProxyPace(t *testing.T) {
	t.Parallel()
	s := fleettest.NewHop(t, func(h *simfleet.Host) { h.DropFirst = 8 })
	target := fleettest.NewServer(t, nil).Config()
	hosts := make([]fleetssh.HostConfig, 40)
	for i := range hosts {
		hop := s.Config() // a connection for each host
		hop.Attempts, hop.RetryDelay = 5, 10*time.Millisecond
		hosts[i] = target
		hosts[i].Proxy = &hop
	}
	p := fleettest.NewFleet(t, hosts...)
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Logins != 40 || st.Connections != 48 {
		t.Errorf("%d connections, %d logins", st.Connections, st.Logins)
	}
}

// No host waits for a hop after its own context has ended, and the login at a hop that no host
// waits for any more is cancelled.
func TestProxyGivenUp(t *testing.T) {
	t.Parallel()
	s := fleettest.NewHop(t, func(h *simfleet.Host) { h.Fault.Kind = simfleet.SilentAccept })
	hop := s.Config()
	host := fleettest.NewServer(t, nil).Config()
	host.Proxy = &hop
	p := fleettest.NewFleet(t, host, host, host)
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Lapse)
	defer cancel()
	err := p.Connect(ctx)
	for _, f := range fleettest.AsError[*fleetssh.HostsError](t, err).Failed {
		if e := fleettest.AsError[*fleetssh.TimeoutError](t, f.Err); e.Phase != "proxy" || e.Host != host.Host {
			t.Errorf("%+v", e)
		}
	}
	fleettest.Eventually(t, "the end of the connection", func() bool { return s.Stats().Open == 0 })
}

// Close ends the login at a hop, and the calls that wait for it return.
func TestProxyCloseDuringLogin(t *testing.T) {
	t.Parallel()
	s := fleettest.NewHop(t, func(h *simfleet.Host) { h.Fault.Kind = simfleet.StallAuth })
	hop := s.Config()
	host := fleettest.NewServer(t, nil).Config()
	host.Proxy = &hop
	p := fleettest.NewFleet(t, host, host)
	done := make(chan error, 1)
	go func() { done <- p.Connect(t.Context()) }()
	fleettest.Eventually(t, "both hosts to wait for the hop", func() bool {
		waiting := 0
		for _, work := range p.Working() {
			if work.Phase == fleetssh.PhaseProxy {
				waiting++
			}
		}
		return waiting == 2 && s.Stats().Connections == 1
	})
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range fleettest.AsError[*fleetssh.HostsError](t, <-done).Failed {
		if !fleettest.Is[*fleetssh.ProxyError](f.Err) || !strings.HasSuffix(f.Err.Error(), ": closed") {
			t.Error(f.Err)
		}
	}
	fleettest.Eventually(t, "the end of the connection", func() bool { return s.Stats().Open == 0 })
}

// After all hosts have given up waiting for a hop, the next host starts a new login there.
func TestProxyAfterGivenUp(t *testing.T) {
	t.Parallel()
	s := fleettest.NewHop(t, func(h *simfleet.Host) { h.Fault.Kind = simfleet.StallAuth })
	hop := s.Config()
	host := fleettest.NewServer(t, nil).Config()
	host.Proxy = &hop
	p := fleettest.NewFleet(t, host, host)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := p.Client(ctx, 0)
		done <- err
	}()
	fleettest.Eventually(t, "the connection to the hop", func() bool { return s.Stats().Connections == 1 })
	s.SetFault(simfleet.Fault{})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := p.Client(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

// Close does not wait for a hop that reads nothing more.
func TestProxyCloseWhileStuck(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var stuck []net.Conn
	s := fleettest.NewHop(t, func(h *simfleet.Host) {
		h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := simfleet.DialLoopback(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			stuck = append(stuck, conn)
			return conn, err
		}
	})
	hop := s.Config()
	target := fleettest.NewServer(t, nil)
	host := target.Config()
	host.Proxy = &hop
	p := fleettest.NewFleet(t, host)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "sleep 60", OpenStdin: true})
	if err != nil {
		t.Fatal(err)
	}
	// The command does not read, and this is more than all windows on the path hold.
	written := make(chan error, 1)
	go func() {
		_, err := outs[0].Stdin.Write(make([]byte, 64<<20))
		written <- err
	}()
	select {
	case err := <-written:
		t.Fatalf("the write ended: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if <-written == nil {
		t.Error("the write succeeded")
	}
}
