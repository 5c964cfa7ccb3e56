package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// Channels that a host opens without a request of the client are refused, whatever their type,
// and the connection stays usable.
func TestTunnelUnrequestedChannels(t *testing.T) {
	sshdtest.CheckLeaks(t)
	type forwarded struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	type refusal struct {
		kind   string
		reason ssh.RejectionReason
	}
	offers := []struct {
		kind    string
		payload []byte
		want    ssh.RejectionReason
	}{
		{"forwarded-tcpip", ssh.Marshal(forwarded{"127.0.0.1", 22, "1.2.3.4", 5}), ssh.Prohibited},
		{"forwarded-tcpip", ssh.Marshal(forwarded{"", 4_000_000_000, "", 0}), ssh.Prohibited},
		{"forwarded-tcpip", nil, ssh.Prohibited},
		{"forwarded-tcpip", []byte("\xff\xff\xff\xffgarbage"), ssh.Prohibited},
		{"forwarded-streamlocal@openssh.com", ssh.Marshal(struct{ A, B string }{"/run/x", ""}), ssh.Prohibited},
		{"forwarded-streamlocal@openssh.com", ssh.Marshal(struct{ A, B string }{"", ""}), ssh.Prohibited},
		{"forwarded-streamlocal@openssh.com", []byte{1, 2, 3}, ssh.Prohibited},
		{"direct-tcpip", ssh.Marshal(forwarded{"127.0.0.1", 22, "1.2.3.4", 5}), ssh.Prohibited},
	}
	got := make(chan refusal)
	host := fleettest.Hostile(t, func(conn ssh.Conn, channels <-chan ssh.NewChannel) {
		defer close(got)
		for _, offer := range offers {
			ch, _, err := conn.OpenChannel(offer.kind, offer.payload)
			if err == nil {
				ch.Close()
			}
			refused, _ := errors.AsType[*ssh.OpenChannelError](err)
			if refused == nil {
				refused = new(ssh.OpenChannelError)
			}
			got <- refusal{offer.kind, refused.Reason}
		}
	})
	c := fleettest.Dial(t, host)
	for _, offer := range offers {
		if r := <-got; r != (refusal{offer.kind, offer.want}) {
			t.Errorf("%+v, want %v of %q", r, offer.want, offer.payload)
		}
	}
	if _, more := <-got; more {
		t.Error("more refusals than channels")
	}
	c.Close()
}

// A host that never answers delays callers only up to their own time limits, whether they connect,
// read, write or close.
func TestTunnelHostSilent(t *testing.T) {
	sshdtest.CheckLeaks(t)
	host := fleettest.Hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
		for newChannel := range channels {
			if target, _ := fleettest.TunnelTo(newChannel.ExtraData()); target == "unanswered" {
				continue
			}
			if _, requests, err := newChannel.Accept(); err == nil { // it never reads, writes or closes
				go ssh.DiscardRequests(requests)
			}
		}
	})
	host.ConnectTimeout = 5 * time.Second
	c := fleettest.Dial(t, host)
	_, err := c.DialContext(fleettest.Soon(t), "tcp", "unanswered:1")
	if e := fleettest.AsError[*fleetssh.TimeoutError](t, err); e.Phase != "forward" {
		t.Error(e)
	}
	conn, err := c.DialContext(fleettest.Soon(t), "tcp", "silent:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	if n, err := conn.Write(make([]byte, 8<<20)); n >= 8<<20 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %d, %v", n, err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	go func() {
		_, err := conn.Write(make([]byte, 8<<20))
		ended <- err
	}()
	conn.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	tunnel, err := c.ForwardLocal(fleettest.Soon(t), "0", "silent:1")
	if err != nil {
		t.Fatal(err)
	}
	called, err := net.Dial("tcp", tunnel.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer called.Close()
	if _, err := io.WriteString(called, strings.Repeat("x", 1<<20)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	fleettest.CloseTunnel(t, tunnel)
	if took := time.Since(begun); took > fleettest.Promptly {
		t.Errorf("Close took %v", took)
	}
}

// Listening and target addresses are checked before any host is contacted.
func TestTunnelAddressErrors(t *testing.T) {
	t.Parallel()
	p := fleettest.NewFleet(t, fleetssh.HostConfig{Host: "192.0.2.1"}, fleetssh.HostConfig{Host: "192.0.2.2"})
	for _, bad := range []string{"", "x", "-1", "65536", "a:b", "a:b:c", "::1", "a b:1", "unix:", "unix:@x", "unix:a\x00b", "/" + strings.Repeat("x", 2000), "-h:1", "a/b:1"} {
		for name, forward := range map[string]func() error{
			"listen locally":  func() error { _, err := p.ForwardLocal(t.Context(), bad, "1"); return err },
			"remote target":   func() error { _, err := p.ForwardLocal(t.Context(), "0", bad); return err },
			"listen remotely": func() error { _, err := p.ForwardRemote(t.Context(), bad, "1"); return err },
			"local target":    func() error { _, err := p.ForwardRemote(t.Context(), "0", bad); return err },
			"listen as SOCKS": func() error { _, err := p.ForwardSOCKS(t.Context(), bad); return err },
			"listen as proxy": func() error { _, err := p.ForwardProxy(t.Context(), bad); return err },
		} {
			if e, ok := forward().(*fleetssh.ConfigError); !ok || e.Index != -1 {
				t.Errorf("%s %q: %v", name, fleettest.Clipped(bad), forward())
			}
		}
	}
	for _, bad := range []string{"0", "*:1", "h:0"} {
		if _, err := p.ForwardLocal(t.Context(), "0", bad); !fleettest.Is[*fleetssh.ConfigError](err) {
			t.Errorf("target %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"unix:" + t.TempDir() + "/x", "65535"} { // one address cannot serve two hosts
		if _, err := p.ForwardLocal(t.Context(), bad, "1"); !fleettest.Is[*fleetssh.ConfigError](err) {
			t.Errorf("listen on %q: %v", bad, err)
		}
	}
}
