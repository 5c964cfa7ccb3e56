package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// webHosts starts hosts with a web server on localhost:9100 each, which answers with the name of
// the host and the request.
func webHosts(t testing.TB, names ...string) []fleetssh.HostConfig {
	t.Helper()
	hosts := make([]fleetssh.HostConfig, len(names))
	for i, name := range names {
		mux := http.NewServeMux()
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s %s %q", name, r.Method, r.Host, r.URL, body)
		})
		mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "X-Own")
			w.Header().Set("X-Own", "1")
			for name := range r.Header {
				fmt.Fprintln(w, name)
			}
		})
		mux.HandleFunc("/upgrade", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "shout")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			line, _ := rw.ReadString('\n')
			io.WriteString(conn, strings.ToUpper(line))
		})
		web := httptest.NewServer(mux)
		t.Cleanup(web.Close)
		var dialed atomic.Int32
		mux.HandleFunc("/dialed", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, dialed.Load()) })
		s := fleettest.NewServer(t, func(h *simfleet.Host) {
			h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed.Add(1)
				if addr != "localhost:9100" {
					return nil, errors.New("connection refused")
				}
				var dialer net.Dialer
				return dialer.DialContext(ctx, network, web.Listener.Addr().String())
			}
		})
		hosts[i] = s.Config()
		hosts[i].Alias = name
	}
	return hosts
}

// curl runs curl and returns its output, with the error if it fails.
func curl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(fleettest.Soon(t), "curl", append([]string{"-sS", "--noproxy", ""}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s (%v)", out, err)
	}
	return string(out)
}

// The proxy connects to the hosts of the fleet by name, with SOCKS 5, SOCKS 4a and HTTP.
func TestForwardProxyCurl(t *testing.T) {
	sshdtest.CheckLeaks(t)
	p := fleettest.NewFleet(t, webHosts(t, "web1", "Web2.example")...)
	tunnel, err := p.ForwardProxy(fleettest.Soon(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	at := tunnel.Addr().String()
	for _, proxy := range [][]string{
		{"-x", "socks5h://" + at}, {"-x", "socks4a://" + at}, {"-x", "http://" + at}, {"-p", "-x", "http://" + at},
	} {
		for name, want := range map[string]string{"web1": "web1", "WEB1": "web1", "web2.EXAMPLE": "Web2.example", "0.web1": "web1", "1.web2.example.": "Web2.example"} {
			got := curl(t, append(proxy, "-d", "body", "http://"+name+":9100/path?q=1")...)
			if want := fmt.Sprintf("%s POST %s:9100 /path?q=1 %q", want, name, "body"); got != want {
				t.Errorf("%q: %s, want %s", proxy, got, want)
			}
		}
	}
	for _, test := range []struct{ args, want string }{
		{"-x socks5h://" + at + " http://elsewhere:9100/", "(2)"},
		{"-x socks5h://" + at + " http://web1:80/", "(5)"},
		{"-x socks4a://" + at + " http://elsewhere:9100/", "(91)"},
		{"-w %{http_code} -x http://" + at + " http://elsewhere:9100/", "fleetssh: \"elsewhere\" is not in this fleet\n502"},
		{"-w %{http_code} -x http://" + at + " http://5.web1:9100/", "is not in this fleet\n502"},
		{"-w %{http_code} -x http://" + at + " http://web1/", "localhost:80: connection refused\n502"},
		{"-p -x http://" + at + " http://elsewhere:9100/", "502"},
		{"-w %{http_code} http://" + at + "/", "fleetssh: this is a proxy"},
	} {
		if got := curl(t, strings.Fields(test.args)...); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %s", test.args, got, test.want)
		}
	}
	fleettest.CloseTunnel(t, tunnel)
}

// Hosts with the same name are told apart by their number.
func TestForwardProxyAmbiguous(t *testing.T) {
	sshdtest.CheckLeaks(t)
	hosts := webHosts(t, "web1", "web2")
	for i := range hosts {
		hosts[i].Alias = "" // both are 127.0.0.1
	}
	p := fleettest.NewFleet(t, hosts...)
	tunnel, err := p.ForwardProxy(fleettest.Soon(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := "http://" + tunnel.Addr().String()
	if got := curl(t, "-x", proxy, "http://127.0.0.1:9100/"); !strings.Contains(got, `"127.0.0.1" is the name of 2 hosts; say 0.127.0.0.1 (`+hosts[0].String()+"), 1.127.0.0.1") {
		t.Error(got)
	}
	for i, want := range []string{"web1", "web2"} {
		if got := curl(t, "-x", proxy, fmt.Sprintf("http://%d.127.0.0.1:9100/", i)); !strings.HasPrefix(got, want+" GET") {
			t.Errorf("%d: %s", i, got)
		}
	}
}

// Connections are kept alive, proxy headers are removed, and other headers are passed on.
func TestForwardProxyHeaders(t *testing.T) {
	sshdtest.CheckLeaks(t)
	p := fleettest.NewFleet(t, webHosts(t, "web1")...)
	tunnel, err := p.ForwardProxy(fleettest.Soon(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := url.Parse("http://" + tunnel.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	defer transport.CloseIdleConnections()
	for range 3 {
		r, err := http.NewRequestWithContext(fleettest.Soon(t), http.MethodGet, "http://web1:9100/headers", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Connection", "X-Hop", "Proxy-Authorization", "Proxy-Connection", "X-Forwarded-For", "X-Kept", "Te"} {
			r.Header.Set(name, "X-Hop")
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(fleettest.Text(t, answer.Body))
		answer.Body.Close()
		for _, name := range got {
			if name != "X-Forwarded-For" && name != "X-Kept" && name != "Accept-Encoding" && name != "User-Agent" {
				t.Errorf("the host received the header %s", name)
			}
		}
		if len(got) < 3 || answer.Header.Get("X-Own") != "" || answer.StatusCode != http.StatusOK {
			t.Errorf("%v: %q, %v", answer.Status, got, answer.Header)
		}
	}
	if got := curl(t, "-x", proxy.String(), "http://web1:9100/dialed"); got != "1" {
		t.Errorf("%s connections for consecutive requests, want 1", got)
	}
}

// An upgraded connection works, and data sent directly after CONNECT is not lost.
func TestForwardProxyUpgrade(t *testing.T) {
	sshdtest.CheckLeaks(t)
	p := fleettest.NewFleet(t, webHosts(t, "web1")...)
	tunnel, err := p.ForwardProxy(fleettest.Soon(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	const upgrade = "/upgrade HTTP/1.1\r\nHost: web1:9100\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"
	for _, request := range []string{
		"GET http://web1:9100" + upgrade,
		"CONNECT web1:9100 HTTP/1.1\r\nHost: web1:9100\r\n\r\nGET " + upgrade,
	} {
		conn, err := net.Dial("tcp", tunnel.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(fleettest.Patience))
		io.WriteString(conn, request)
		answer := bufio.NewReader(conn)
		for line := ""; !strings.Contains(line, "101 Switching Protocols"); {
			if line, err = answer.ReadString('\n'); err != nil {
				t.Fatalf("%q: %v", request, err)
			}
		}
		io.WriteString(conn, "hello\n")
		if got := fleettest.Text(t, answer); !strings.HasSuffix(got, "\r\n\r\nHELLO\n") {
			t.Errorf("%q: %q", request, got)
		}
		conn.Close()
	}
}

// Anything other than a proxy request is refused.
func TestForwardProxyRefuses(t *testing.T) {
	sshdtest.CheckLeaks(t)
	p := fleettest.NewFleet(t, webHosts(t, "web1")...)
	tunnel, err := p.ForwardProxy(fleettest.Soon(t), "0")
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: web1:9100\r\n\r\n":                           "400",
		"GET https://web1:9100/ HTTP/1.1\r\nHost: web1\r\n\r\n":               "400",
		"CONNECT web1 HTTP/1.1\r\nHost: web1\r\n\r\n":                         "502",
		"CONNECT web1:0 HTTP/1.1\r\nHost: web1\r\n\r\n":                       "502",
		"CONNECT web1:99999 HTTP/1.1\r\nHost: web1\r\n\r\n":                   "502",
		"\x16\x03\x01 TLS\r\n\r\n":                                            "400",
		"GET http://web1:9100/ HTTP/1.1\r\nX: " + strings.Repeat("x", 80<<10): "431",
	} {
		conn, err := net.Dial("tcp", tunnel.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, request)
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Errorf("%.40q: %q", request, line)
		}
		conn.Close()
	}
}
