package tunnel

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// redis runs redis-cli and returns its output.
func redis(t testing.TB, in string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(fleettest.Soon(t), "redis-cli", args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("redis-cli %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// A Redis server that listens only on a Unix socket of the host works through a tunnel: with single
// requests, with thousands of requests in one stream, and with fifty clients at once.
func TestSSHDTunnelRedis(t *testing.T) {
	sshdtest.CheckLeaks(t)
	dir := sshdtest.SharedDir(t)
	socket := filepath.Join(dir, "redis")
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	fleettest.Eventually(t, "redis-server", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	p := fleettest.NewFleet(t, host)
	tunnels, err := p.ForwardLocal(fleettest.Soon(t), "0", socket)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(tunnels[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got := redis(t, "", "-p", port, "set", "key", "value"); got != "OK" {
		t.Error(got)
	}
	if got := redis(t, "", "-p", port, "get", "key"); got != "value" {
		t.Error(got)
	}
	const n = 20_000
	var requests strings.Builder
	for i := range n {
		fmt.Fprintf(&requests, "SET key%d %d\r\n", i, i)
	}
	if got := redis(t, requests.String(), "-p", port, "--pipe"); !strings.Contains(got, fmt.Sprintf("errors: 0, replies: %d", n)) {
		t.Error(got)
	}
	if got := redis(t, "", "-p", port, "get", fmt.Sprintf("key%d", n-1)); got != fmt.Sprint(n-1) {
		t.Error(got)
	}
	out, err := exec.CommandContext(fleettest.Soon(t), "redis-benchmark", "-p", port, "-q", "-n", "5000", "-c", "50", "-t", "set,get,lrange_100").CombinedOutput()
	if err != nil || strings.Count(string(out), "requests per second") < 3 {
		t.Errorf("redis-benchmark: %v\n%s", err, out)
	}
}

// curl reaches targets behind the host through SOCKS, with every version of the protocol, and
// through a proxy that listens on a Unix socket.
func TestSSHDForwardSOCKS(t *testing.T) {
	sshdtest.CheckLeaks(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello "+r.Host) }))
	t.Cleanup(web.Close)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	p := fleettest.NewFleet(t, host)
	_, port, err := net.SplitHostPort(web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(sshdtest.SharedDir(t), "proxy")
	for name, forward := range map[string]func(context.Context) (*fleetssh.Tunnel, error){
		"client": func(ctx context.Context) (*fleetssh.Tunnel, error) { return c.ForwardSOCKS(ctx, "0") },
		"socket": func(ctx context.Context) (*fleetssh.Tunnel, error) { return c.ForwardSOCKS(ctx, socket) },
		"fleet": func(ctx context.Context) (*fleetssh.Tunnel, error) {
			tunnels, err := p.ForwardSOCKS(ctx, "0")
			if err != nil {
				return nil, err
			}
			return tunnels[0], nil
		},
	} {
		tunnel, err := forward(fleettest.Soon(t))
		if err != nil {
			t.Fatal(err)
		}
		at := tunnel.Addr().String()
		targets := []string{"127.0.0.1:" + port, "localhost:" + port}
		family := "-4"
		if tunnel.Addr().Network() == "unix" {
			at, family = "localhost"+at, "-s" // -4 does not apply to a Unix socket
			targets = targets[:1]
		}
		for _, version := range []string{"socks5h", "socks5", "socks4", "socks4a"} {
			for _, to := range targets {
				if got := curl(t, family, "-x", version+"://"+at, "http://"+to+"/"); got != "hello "+to {
					t.Errorf("%s: %s to %s: %s", name, version, to, got)
				}
			}
		}
		if got := curl(t, "-x", "socks5h://"+at, "http://127.0.0.1:1/"); !strings.Contains(got, "(5)") {
			t.Errorf("%s: %s", name, got)
		}
		fleettest.CloseTunnel(t, tunnel)
	}
}

// The standard HTTP client works with DialContext.
func TestSSHDDialContextHTTP(t *testing.T) {
	sshdtest.CheckLeaks(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	t.Cleanup(web.Close)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	transport := &http.Transport{DialContext: c.DialContext}
	defer transport.CloseIdleConnections()
	for range 10 {
		sent := strings.Repeat("hello ", 100_000)
		r, err := http.NewRequestWithContext(fleettest.Soon(t), http.MethodPost, web.URL, strings.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := fleettest.Text(t, answer.Body); got != sent {
			t.Errorf("%d bytes", len(got))
		}
		answer.Body.Close()
	}
}
