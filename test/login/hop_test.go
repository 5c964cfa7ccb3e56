package login

import (
	"fmt"
	"io"
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
	"fleetssh/internal/sshdtest"
)

// window is the number of bytes that x/crypto lets the other side send on a channel that is not
// read.
const window = 2 << 20

// hostileHop is a hop that misbehaves on channels to certain host names, and forwards all others.
type hostileHop struct {
	config fleetssh.HostConfig
	logins atomic.Int32
	sent   sync.Map // bytes sent, by host name: *atomic.Int64
}

func newHostileHop(t testing.TB) *hostileHop {
	t.Helper()
	h := new(hostileHop)
	h.config = fleettest.Hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
		h.logins.Add(1)
		var wg sync.WaitGroup
		defer wg.Wait()
		for newChannel := range channels {
			wg.Go(func() { h.serve(newChannel) })
		}
	})
	return h
}

// serve serves a channel in the way that the first word of the host name says.
func (h *hostileHop) serve(newChannel ssh.NewChannel) {
	host, address := fleettest.TunnelTo(newChannel.ExtraData())
	kind, _, _ := strings.Cut(host, "-")
	if kind == "unanswered" {
		return
	}
	ch, requests, err := newChannel.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	flood := func(w io.Writer, total int, chunk []byte) {
		sent, _ := h.sent.LoadOrStore(host, new(atomic.Int64))
		for total > 0 {
			n, err := w.Write(chunk)
			sent.(*atomic.Int64).Add(int64(n))
			if err != nil {
				break
			}
			total -= n
		}
		ssh.DiscardRequests(requests)
	}
	const endless = 1 << 40
	chunk := make([]byte, 16<<10)
	switch kind {
	case "silent":
		ssh.DiscardRequests(requests)
	case "closing":
	case "stderr":
		flood(ch.Stderr(), endless, chunk)
	case "unknown": // extended data of an unknown type, which the client discards
		flood(ch.(interface{ Extended(uint32) io.ReadWriter }).Extended(7), 64<<20, chunk)
	case "flooding":
		flood(ch, 10<<20, chunk)
	case "chatting": // RFC 4253, section 4.2, allows lines before the version
		flood(ch, 10<<20, slices.Repeat([]byte("hello\r\n"), 2000))
	default:
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		go func() {
			io.Copy(conn, ch)
			conn.Close()
		}()
		go ssh.DiscardRequests(requests)
		io.Copy(ch, conn)
	}
}

// If a hop misbehaves on the channel of one host, that host gets an error within its own time
// limit, and the other hosts behind the hop are not affected.
func TestHostileHop(t *testing.T) {
	t.Parallel()
	all := fleettest.Together{T: t}
	defer all.Wait()
	const limit = fleettest.Lapse
	_, good := fleettest.Simulated(t, 5, nil)
	for _, test := range []struct {
		name  string
		is    func(error) bool
		phase fleetssh.Phase
		waits bool  // until ConnectTimeout
		most  int64 // bytes that the client lets the hop send
	}{
		{"silent", fleettest.Is[*fleetssh.TimeoutError], "handshake", true, 0},
		{"unanswered", fleettest.Is[*fleetssh.TimeoutError], "connect", true, 0},
		{"closing", fleettest.Is[*fleetssh.ConnectionError], "handshake", false, 0},
		{"stderr", fleettest.Is[*fleetssh.TimeoutError], "handshake", true, window},
		{"unknown", fleettest.Is[*fleetssh.TimeoutError], "handshake", true, 1 << 40},
		{"flooding", fleettest.Is[*fleetssh.ConnectionError], "handshake", false, window + 64<<10},
		{"chatting", fleettest.Is[*fleetssh.ConnectionError], "handshake", false, window + 64<<10},
	} {
		all.Run(test.name, func(t *testing.T) {
			h := newHostileHop(t)
			bad := good[0]
			bad.Host, bad.ConnectTimeout = test.name+"-host", limit
			p := fleettest.NewFleet(t, fleettest.Behind(&h.config, slices.Concat([]fleetssh.HostConfig{bad}, good)...)...)
			for round := range 2 {
				begun := time.Now()
				outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "bytes 1000000"})
				if n := len(fleettest.AsError[*fleetssh.HostsError](t, err).Failed); n != 1 {
					t.Errorf("round %d: %d failed: %v", round, n, err)
				}
				if took := time.Since(begun); took > limit+fleettest.Promptly || test.waits && took < limit {
					t.Errorf("round %d: after %v", round, took)
				}
				if err = outs[0].Err; !test.is(err) || fleettest.Is[*fleetssh.ProxyError](err) || !strings.Contains(err.Error(), bad.Host) {
					t.Errorf("round %d: %T: %v", round, err, err)
				}
				if o := outs[0].Outcome(); o.Kind != fleetssh.Unreachable || o.Phase != test.phase {
					t.Errorf("round %d: outcome %+v", round, o)
				}
				for i, out := range outs[1:] {
					if err, n := out.WaitFinished(fleettest.Soon(t)), len(fleettest.Text(t, out.Stdout)); err != nil || n != 1000000 {
						t.Errorf("round %d: host %d: %d bytes, %v", round, i, n, err)
					}
				}
				// The next round makes new connections through the same hop.
				p.SetHosts(fleettest.Behind(&h.config, append([]fleetssh.HostConfig{bad}, slices.Clone(good)...)...))
			}
			fleettest.Equal(t, "logins at the hop", h.logins.Load(), 1)
			if sent, ok := h.sent.Load(bad.Host); ok && sent.(*atomic.Int64).Load() > 2*test.most {
				t.Errorf("the client let %s send %d bytes", bad.Host, sent.(*atomic.Int64).Load())
			} else if ok && sent.(*atomic.Int64).Load() == 0 {
				t.Error("the hop has sent nothing")
			}
			fleettest.ClosesPromptly(t, p)
		})
	}
}

// A hop misbehaves in all of these ways at once.
func TestHostileHopMixed(t *testing.T) {
	t.Parallel()
	h := newHostileHop(t)
	_, good := fleettest.Simulated(t, 5, nil)
	hosts := slices.Clone(good)
	for _, kind := range []string{"silent", "unanswered", "closing", "stderr", "flooding", "chatting"} {
		for i := range 5 {
			bad := good[0]
			bad.Host, bad.ConnectTimeout = fmt.Sprintf("%s-%d", kind, i), time.Second
			hosts = append(hosts, bad)
		}
	}
	p := fleettest.NewFleet(t, fleettest.Behind(&h.config, hosts...)...)
	outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "bytes 1000000"})
	if n := len(fleettest.AsError[*fleetssh.HostsError](t, err).Failed); n != len(hosts)-len(good) {
		t.Errorf("%d failed: %v", n, err)
	}
	for i, out := range outs[:len(good)] {
		if err := out.WaitFinished(fleettest.Soon(t)); err != nil {
			t.Errorf("host %d: %v", i, err)
		}
	}
	h.sent.Range(func(name, sent any) bool {
		if n := sent.(*atomic.Int64).Load(); n > window+64<<10 {
			t.Errorf("the client let %s send %d bytes", name, n)
		}
		return true
	})
	fleettest.Equal(t, "logins at the hop", h.logins.Load(), 1)
	fleettest.ClosesPromptly(t, p)
}

// The client does not wait for a hop that never answers the close of a channel.
func TestHopLeavesChannelsOpen(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	hop := fleettest.RawHost(t, (*fleettest.RawSSH).Forward)
	_, hosts := fleettest.Simulated(t, 3, nil)
	hosts = fleettest.Behind(&hop, hosts...)
	c := fleettest.Dial(t, hosts[0])
	if _, err := c.Execute(fleettest.Soon(t), "sleep 60"); err != nil {
		t.Fatal(err)
	}
	fleettest.ClosesPromptly(t, c)

	p := fleettest.NewFleet(t, hosts...)
	if _, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "sleep 60"}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	p.SetHosts(hosts[1:2]) // closes the connections of the other hosts
	if took := time.Since(begun); took > fleettest.Promptly {
		t.Errorf("SetHosts took %v", took)
	}
	out, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo there"})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "output", fleettest.Text(t, out[0].Stdout), "there\n")
	fleettest.ClosesPromptly(t, p)
}
