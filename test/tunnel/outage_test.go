package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// messages collects the messages of a logger.
type messages struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.Write(p)
}

// logger returns a logger that writes only messages.
func (m *messages) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(m, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key != slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (m *messages) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

// After an outage, the next caller reaches the host again. The logger, or TunnelChanged if that
// is set, gets one event for each change, whatever the number of callers.
func TestTunnelOutage(t *testing.T) {
	t.Run("logged", func(t *testing.T) { tunnelOutage(t, false) })
	t.Run("TunnelChanged", func(t *testing.T) { tunnelOutage(t, true) })
}

func tunnelOutage(t *testing.T, withCallback bool) {
	sshdtest.CheckLeaks(t)
	host := webHosts(t, "web1")[0]
	var down atomic.Bool
	var conns sync.Map
	host.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if down.Load() {
			return nil, errors.New("no route to host")
		}
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, addr)
		if err == nil {
			conns.Store(conn, true)
		}
		return conn, err
	}
	var log messages
	p := fleettest.NewFleet(t, host)
	p.Logger = log.logger()
	if withCallback {
		p.TunnelChanged = func(e fleetssh.TunnelEvent) {
			if e.Host.Host != host.Host || (e.Err == nil) != (e.Kind == fleetssh.TunnelReconnected) {
				t.Errorf("%+v", e)
			}
			fmt.Fprintf(&log, "msg=%q\n", e.Kind)
		}
	}
	tunnels, err := p.ForwardLocal(fleettest.Soon(t), "0", "9100")
	if err != nil {
		t.Fatal(err)
	}
	get := func() bool {
		return strings.HasPrefix(curl(t, "http://"+tunnels[0].Addr().String()+"/"), "web1 GET")
	}
	const outages = 2
	for range outages {
		if !get() {
			t.Fatal("no answer")
		}
		down.Store(true)
		conns.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
		for range 5 {
			if get() {
				t.Error("an answer while the host is down")
			}
		}
		down.Store(false)
		fleettest.Eventually(t, "the host", get)
	}
	fleettest.CloseTunnel(t, tunnels[0])
	want := strings.Repeat("msg=\"tunnels have lost their connection\"\nmsg=\"connected again\"\n", outages)
	if got := log.String(); got != want {
		t.Errorf("messages:\n%s\nwant:\n%s", got, want)
	}
}

// If a connection hangs, the next caller replaces it after ConnectTimeout.
func TestSSHDTunnelFrozen(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	host.ConnectTimeout = fleettest.Lapse
	p := fleettest.NewFleet(t, host)
	tunnels, err := p.ForwardLocal(fleettest.Soon(t), "0", fleettest.Answering(t, "tcp", fleettest.Summing))
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Works(t, tunnels[0])
	resume := s.PauseConnections()
	defer resume()
	fleettest.Works(t, tunnels[0])
}

// Closing a client or a fleet ends its tunnels and leaves nothing behind.
func TestTunnelClientClosed(t *testing.T) {
	sshdtest.CheckLeaks(t)
	host := webHosts(t, "web1")[0]
	c, err := fleetssh.Dial(fleettest.Soon(t), host)
	if err != nil {
		t.Fatal(err)
	}
	p := fleettest.NewFleet(t, host)
	tunnels := map[string]*fleetssh.Tunnel{}
	for name, forward := range map[string]func() (*fleetssh.Tunnel, error){
		"client": func() (*fleetssh.Tunnel, error) { return c.ForwardLocal(fleettest.Soon(t), "0", "9100") },
		"socks":  func() (*fleetssh.Tunnel, error) { return c.ForwardSOCKS(fleettest.Soon(t), "0") },
		"proxy":  func() (*fleetssh.Tunnel, error) { return p.ForwardProxy(fleettest.Soon(t), "0") },
		"fleet": func() (*fleetssh.Tunnel, error) {
			tunnels, err := p.ForwardLocal(fleettest.Soon(t), "0", "9100")
			return tunnels[0], err
		},
	} {
		tunnel, err := forward()
		if err != nil {
			t.Fatal(err)
		}
		tunnels[name] = tunnel
		conn, err := net.Dial("tcp", tunnel.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() // open, in whatever state, while the clients are closed
	}
	c.Close()
	p.Close()
	for name, tunnel := range tunnels {
		err := tunnel.Wait()
		if ofClient := name == "client" || name == "socks"; ofClient != errors.Is(err, net.ErrClosed) || !ofClient && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.ForwardLocal(fleettest.Soon(t), "0", "9100"); !fleettest.Is[*fleetssh.ConnectionError](err) {
		t.Error(err)
	}
	if _, err := c.ForwardRemote(fleettest.Soon(t), "0", "9100"); !fleettest.Is[*fleetssh.ConnectionError](err) {
		t.Error(err)
	}
	if _, err := p.ForwardLocal(fleettest.Soon(t), "0", "9100"); !fleettest.Is[*fleetssh.ConnectionError](err) {
		t.Error(err)
	}
	if _, err := p.ForwardProxy(fleettest.Soon(t), "0"); !fleettest.Is[*fleetssh.ConnectionError](err) {
		t.Error(err)
	}
	if _, err := c.DialContext(fleettest.Soon(t), "tcp", "localhost:9100"); !fleettest.Is[*fleetssh.ConnectionError](err) {
		t.Error(err)
	}
}

// A caller that does not read does not block closing the client or replacing a lost connection.
func TestSSHDTunnelStalledCallerOutage(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	service := fleettest.Answering(t, "tcp", func(conn net.Conn) {
		conn.Write(make([]byte, 32<<20))
	})
	c, err := fleetssh.Dial(fleettest.Soon(t), host)
	if err != nil {
		t.Fatal(err)
	}
	p := fleettest.NewFleet(t, host)
	tunnels, err := p.ForwardLocal(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	var stalled []net.Conn
	for range 2 { // callers before and after the connection is lost
		dialed, err := c.DialContext(fleettest.Soon(t), "tcp", service)
		if err != nil {
			t.Fatal(err)
		}
		called, err := net.Dial("tcp", tunnels[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		stalled = append(stalled, dialed, called)
		for _, conn := range stalled[len(stalled)-2:] {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if len(stalled) == 2 {
			c.Close()
			s.KillConnections()
			if c, err = fleetssh.Dial(fleettest.Soon(t), host); err != nil {
				t.Fatal(err)
			}
		} else {
			c.Close()
			p.Close()
		}
		if took := time.Since(begun); took > fleettest.Promptly {
			t.Errorf("closing took %v", took)
		}
	}
	for _, conn := range stalled {
		conn.SetReadDeadline(time.Now().Add(fleettest.Patience))
		if n, err := io.Copy(io.Discard, conn); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%T: %d bytes, and %v", conn, n, err)
		}
		conn.Close()
	}
}
