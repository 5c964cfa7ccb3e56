package transport

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetssh/internal/socks"
	"fleetssh/internal/sshdtest"
)

func TestProxyURL(t *testing.T) {
	for _, test := range []struct{ url, name, addr, user, password string }{
		{"socks5://gw", "socks5://gw:1080", "gw:1080", "", ""},
		{"SOCKS5h://gw:9050/", "socks5h://gw:9050", "gw:9050", "", ""},
		{"http://gw", "http://gw:1080", "gw:1080", "", ""},
		{"https://gw", "https://gw:443", "gw:443", "", ""},
		{"http://[::1]:3128", "http://[::1]:3128", "[::1]:3128", "", ""},
		{"http://me:" + inURL + "@gw:3128", "http://gw:3128", "gw:3128", "me", secret},
		{"socks5://me@gw", "socks5://gw:1080", "gw:1080", "me", ""},
		{"unix:///run/%68op", "unix:///run/hop", "/run/hop", "", ""},
	} {
		p, err := parseProxy(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		l := login{}
		if p.login != nil {
			l = *p.login
		}
		if p.name != test.name || p.addr != test.addr || l.user != test.user || l.password != test.password {
			t.Errorf("%s: %+v, login %+v", test.url, p, l)
		}
	}
}

func TestProxyURLBad(t *testing.T) {
	const word = "hunter2"
	for _, url := range []string{
		"", "gw:1080", "gw", "socks4://gw", "ftp://gw", "http://", "http://:3128", "socks5:gw:1080",
		"http://gw:0", "http://gw:65536", "http://gw:http", "http://gw/path", "http://gw?q", "http://gw/?", "http://gw#f",
		"unix://host/path", "unix:path", "unix:///", "unix://me:hunter2@/path",
		"http://me:hunter2", "me:hunter2@gw", "hunter2://gw:x", "http://me:hunter2/x@gw", "http://me:hunter2%zz@gw", "http://me:hunter2 @gw",
		"http://me:a#hunter2@gw", "http://me:a?hunter2@gw", "http://me:a[hunter2@gw", "http://:hunter2@gw", "http://a%3Ab:hunter2@gw",
		"socks5://me:hunter2" + strings.Repeat("x", 255) + "@gw", "socks5://" + strings.Repeat("hunter2", 40) + ":x@gw", "\x00hunter2",
	} {
		dial, err := Proxy(url)
		if err == nil || dial != nil {
			t.Errorf("%q is accepted", url)
		} else if strings.Contains(err.Error(), word) {
			t.Errorf("%q: the error contains part of the URL: %v", url, err)
		}
	}
}

func TestProxySOCKS(t *testing.T) {
	sshdtest.CheckLeaks(t)
	v4, v6 := []byte{1, 127, 0, 0, 1, 0, 80}, append([]byte{4}, make([]byte, 18)...)
	name := append([]byte{3, 5}, "bound\x00\x50"...)
	long := strings.Repeat("n", 255)
	me := &login{"me", secret}
	for _, test := range []struct {
		name, scheme, user string
		server             *socksServer
		addr, asked        string
	}{
		{"name", "socks5h://", "", &socksServer{bound: v4}, "web1:22", "name web1 22"},
		{"long name", "socks5h://", "", &socksServer{bound: v4}, long + ":22", "name " + long + " 22"},
		{"IPv4", "socks5h://", "", &socksServer{bound: v6}, "192.0.2.1:2222", "192.0.2.1 2222"},
		{"IPv6", "socks5://", "", &socksServer{bound: name}, "[2001:db8::1]:65535", "2001:db8::1 65535"},
		{"IPv4 in IPv6", "socks5://", "", &socksServer{bound: name}, "[::ffff:192.0.2.1]:22", "192.0.2.1 22"},
		{"resolved here", "socks5://", "", &socksServer{bound: v4}, "localhost:22", ""},
		{"login", "socks5h://", "me:" + inURL + "@", &socksServer{bound: v4, login: me}, "web1:22", "name web1 22"},
		{"login not wanted", "socks5h://", "me:" + inURL + "@", &socksServer{bound: v4}, "web1:22", "name web1 22"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dial, err := Proxy(test.scheme + test.user + loopback(t, test.server.serve))
			if err != nil {
				t.Fatal(err)
			}
			conn := dialled(t, dial, test.addr)
			reads(t, conn, greeting)
			echoes(t, conn, "to and fro")
			asked := test.server.requests()
			if len(asked) != 1 || test.asked != "" && asked[0] != test.asked || strings.Contains(asked[0], "localhost") {
				t.Errorf("asked for %q", asked)
			}
		})
	}
}

// TestProxySOCKSRefuses checks the errors for refusals, and whether they are blamed on the target.
func TestProxySOCKSRefuses(t *testing.T) {
	sshdtest.CheckLeaks(t)
	for reply, want := range map[byte]string{
		1: "it refused: general failure", 2: "it refused: connection not allowed by ruleset",
		3: "cannot reach web1:22: network unreachable", 4: "cannot reach web1:22: host unreachable",
		5: "cannot reach web1:22: connection refused", 6: "cannot reach web1:22: TTL expired",
		7: "it refused: command not supported", 8: "it refused: address type not supported", 200: "it refused: reply 200",
	} {
		server := &socksServer{reply: reply}
		url := "socks5h://" + loopback(t, server.serve)
		dial, err := Proxy(url)
		if err != nil {
			t.Fatal(err)
		}
		e := dialFails(soon(t), t, dial, "web1:22", want)
		if e.Target != (reply >= 3 && reply <= 6) || e.Proxy != url || e.Addr != "web1:22" {
			t.Errorf("reply %d: %+v", reply, e)
		}
	}
}

// TestProxySOCKSAllAddresses checks that all addresses of a name are tried, but only one if the
// proxy itself refuses.
func TestProxySOCKSAllAddresses(t *testing.T) {
	sshdtest.CheckLeaks(t)
	addrs, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for reply, times := range map[byte]int{5: len(addrs), 2: 1} {
		server := &socksServer{reply: reply}
		dial, err := Proxy("socks5://" + loopback(t, server.serve))
		if err != nil {
			t.Fatal(err)
		}
		dialFails(soon(t), t, dial, "localhost:22", socks.Reply(reply).String())
		asked := server.requests()
		slices.Sort(asked)
		if len(slices.Compact(asked)) != times {
			t.Errorf("reply %d: asked for %q, want %d", reply, asked, times)
		}
	}
}

func TestProxySOCKSLogin(t *testing.T) {
	sshdtest.CheckLeaks(t)
	for _, test := range []struct{ user, want string }{
		{"", "it requires a login"},
		{"me:wrong@", "it rejected the user and password"},
		{"you:" + inURL + "@", "it rejected the user and password"},
	} {
		server := &socksServer{login: &login{"me", secret}}
		dial, err := Proxy("socks5h://" + test.user + loopback(t, server.serve))
		if err != nil {
			t.Fatal(err)
		}
		if e := dialFails(soon(t), t, dial, "web1:22", test.want); e.Target {
			t.Error("the target is blamed")
		}
	}
}

func TestProxyHTTP(t *testing.T) {
	sshdtest.CheckLeaks(t)
	for _, test := range []struct{ name, user, addr, answer string }{
		{"name", "", "web1:22", ""},
		{"IPv6", "", "[2001:db8::1]:2222", ""},
		{"login", "me:" + inURL + "@", "web1:22", ""},
		{"no reason, HTTP/1.0", "", "web1:22", "HTTP/1.0 200\r\n\r\n" + greeting},
		{"bare line feeds", "", "web1:22", "HTTP/1.1 200 OK\nA: b\n\n" + greeting},
		{"another success", "", "web1:22", "HTTP/1.1 204 Fine\r\nContent-Length: 3\r\n\r\n" + greeting},
		{"interim answers", "", "web1:22", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hm\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + greeting},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &httpServer{answer: test.answer}
			dial, err := Proxy("http://" + test.user + loopback(t, server.serve))
			if err != nil {
				t.Fatal(err)
			}
			conn := dialled(t, dial, test.addr)
			reads(t, conn, greeting)
			echoes(t, conn, "to and fro")
			r := server.requests()[0]
			if r.Method != "CONNECT" || r.Host != test.addr || r.RequestURI != test.addr {
				t.Errorf("asked for %s %s, Host %s", r.Method, r.RequestURI, r.Host)
			}
			auth := r.Header.Get("Proxy-Authorization")
			want := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+secret))
			if test.user == "" {
				want = ""
			}
			if auth != want {
				t.Errorf("Proxy-Authorization: %q", auth)
			}
		})
	}
}

func TestProxyHTTPRefuses(t *testing.T) {
	sshdtest.CheckLeaks(t)
	for _, test := range []struct {
		answer, want string
		target       bool
	}{
		{"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "it refused: 407 Proxy Authentication Required (the URL has no user and password)", false},
		{"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nForbidden", "it refused: 403 Forbidden", false},
		{"HTTP/1.1 404\r\n\r\n", "it refused: 404", false},
		{"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "it refused: 302 Found", false},
		{"HTTP/1.1 503 Service Unavailable\r\n\r\n", "it refused: 503", false},
		{"HTTP/1.1 502 Bad Gateway\r\n\r\n", "cannot reach web1:22: 502 Bad Gateway", true},
		{"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "cannot reach web1:22: 504 Gateway Timeout", true},
		{"HTTP/1.1 503 Service Unavailable\r\nx-squid-error: ERR_CONNECT_FAIL 111\r\n\r\n", "cannot reach web1:22: 503", true},
		{"HTTP/1.1 500 a\x1b[2Jb\u202ec" + strings.Repeat("x", 300) + "\r\n\r\n", "500 a?[2Jb?c" + strings.Repeat("x", 92) + "…", false},
	} {
		server := &httpServer{answer: test.answer}
		dial, err := Proxy("http://" + loopback(t, server.serve))
		if err != nil {
			t.Fatal(err)
		}
		if e := dialFails(soon(t), t, dial, "web1:22", test.want); e.Target != test.target {
			t.Errorf("%q: %+v", test.answer, e)
		}
	}
	server := &httpServer{answer: "HTTP/1.1 407 No\r\n\r\n"}
	dial, err := Proxy("http://me:" + inURL + "@" + loopback(t, server.serve))
	if err != nil {
		t.Fatal(err)
	}
	if e := dialFails(soon(t), t, dial, "web1:22", "407 No"); strings.Contains(e.Error(), "URL") {
		t.Errorf("%v: the URL has a password", e)
	}
}

func TestProxyHTTPS(t *testing.T) {
	sshdtest.CheckLeaks(t)
	server := &httpServer{}
	serve, roots := overTLS(t, server.serve)
	p, err := parseProxy("https://" + loopback(t, serve))
	if err != nil {
		t.Fatal(err)
	}
	if e := dialFails(soon(t), t, p.dial, "web1:22", "certificate"); e.Target || len(server.requests()) > 0 {
		t.Errorf("%+v, after %d requests", e, len(server.requests()))
	}
	p.tls.RootCAs = roots
	conn := dialled(t, p.dial, "web1:22")
	reads(t, conn, greeting)
	echoes(t, conn, "to and fro")
}

func TestProxyUnix(t *testing.T) {
	sshdtest.CheckLeaks(t)
	path := filepath.Join(sshdtest.SharedDir(t), "a hop")
	listen(t, "unix", path, echo)
	dial, err := Proxy("unix://" + strings.ReplaceAll(path, " ", "%20"))
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, dialled(t, dial, "whatever"), "to and fro")
	if dial, err = Proxy("unix://" + path + "-not"); err != nil {
		t.Fatal(err)
	}
	e := dialFails(soon(t), t, dial, "web1:22", "no such file")
	if !errors.Is(e, syscall.ENOENT) || e.Target {
		t.Errorf("%#v", e)
	}
}

// TestProxyMisbehaves connects to servers that are not proxies, and to proxies that send nonsense.
func TestProxyMisbehaves(t *testing.T) {
	sshdtest.CheckLeaks(t)
	const closed = "it closed the connection"
	socksOK := "\x05\x00"
	for _, test := range []struct {
		name, scheme, answer string
		hangUp               bool
		want                 string
	}{
		{"hangs up", "socks5h", "", true, closed},
		{"speaks SSH", "socks5h", "SSH-2.0-x\r\n", false, `it does not speak SOCKS 5: its answer begins with "S"`},
		{"half a method", "socks5h", "\x05", true, closed},
		{"a method not offered", "socks5h", "\x05\x01", false, "login method 1"},
		{"no reply", "socks5h", socksOK, true, "it closed the connection without an answer"},
		{"another version in the reply", "socks5h", socksOK + "\x04\x00", false, `begins with "\x04"`},
		{"half a reply", "socks5h", socksOK + "\x05\x00\x00\x01\x7f", true, closed},
		{"half a name", "socks5h", socksOK + "\x05\x00\x00\x03\xffabc", true, closed},
		{"a strange address", "socks5h", socksOK + "\x05\x00\x00\x02\x00", false, "unknown address type: 2"},
		{"hangs up", "http", "", true, closed},
		{"speaks SSH", "http", "SSH-2.0-x\x1b[1m\r\n", false, `it does not speak HTTP: its answer begins with "SSH-2.0-x?[1m"`},
		{"HTTP/2", "http", "HTTP/2 200 OK\r\n\r\n", false, "does not speak HTTP"},
		{"a strange status", "http", "HTTP/1.1 2000 OK\r\n\r\n", false, "does not speak HTTP"},
		{"half a line", "http", "HTTP/1.1 20", true, closed},
		{"half a header", "http", "HTTP/1.1 200 OK\r\nA: b\r\n", true, closed},
		{"a long line", "http", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", headLimit), false, "more than 16384 bytes"},
		{"many lines", "http", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", headLimit/6), false, "more than 16384 bytes"},
		{"many answers", "http", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", headLimit/25+1), false, "more than 16384 bytes"},
		{"no TLS", "https", "HTTP/1.1 200 OK\r\n\r\n", false, "TLS"},
	} {
		t.Run(test.scheme+" "+test.name, func(t *testing.T) {
			dial, err := Proxy(test.scheme + "://" + loopback(t, answering(test.answer, test.hangUp)))
			if err != nil {
				t.Fatal(err)
			}
			if e := dialFails(soon(t), t, dial, "web1:22", test.want); e.Target {
				t.Error("the target is blamed")
			} else if strings.HasPrefix(test.want, closed) && !errors.Is(e, io.ErrUnexpectedEOF) {
				t.Errorf("%v does not wrap io.ErrUnexpectedEOF", e)
			}
		})
	}
}

// TestProxyContext checks that the context ends a dial at each step, and that the connection to the
// proxy is closed.
func TestProxyContext(t *testing.T) {
	sshdtest.CheckLeaks(t)
	reason := errors.New("no patience")
	for _, test := range []struct{ name, scheme, answer string }{
		{"silent", "socks5h", ""},
		{"silent after the login", "socks5h", "\x05\x00"},
		{"half a reply", "socks5h", "\x05\x00\x05\x00"},
		{"silent", "http", ""},
		{"half a header", "http", "HTTP/1.1 200 OK\r\nA"},
		{"silent", "https", ""},
	} {
		t.Run(test.scheme+" "+test.name, func(t *testing.T) {
			ended := make(chan struct{})
			answered := make(chan struct{})
			addr := loopback(t, func(conn net.Conn) {
				io.WriteString(conn, test.answer)
				close(answered)
				io.Copy(io.Discard, conn)
				close(ended)
			})
			dial, err := Proxy(test.scheme + "://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(soon(t))
			go func() {
				<-answered
				cancel(reason)
			}()
			e := dialFails(ctx, t, dial, "web1:22", "no patience")
			if !errors.Is(e, reason) || e.Target {
				t.Errorf("%#v", e)
			}
			select {
			case <-ended:
			case <-time.After(patience):
				t.Error("the connection to the proxy is still open")
			}
		})
	}
	t.Run("deadline", func(t *testing.T) {
		dial, err := Proxy("socks5h://" + loopback(t, answering("\x05\x00", false)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if e := dialFails(ctx, t, dial, "web1:22", "deadline"); !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%#v", e)
		}
	})
	t.Run("no effect afterwards", func(t *testing.T) {
		dial, err := Proxy("http://" + loopback(t, new(httpServer).serve))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		conn, err := dial(ctx, "tcp", "web1:22")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cancel()
		reads(t, conn, greeting)
		echoes(t, conn, "to and fro")
	})
}

func TestProxyUnreachable(t *testing.T) {
	sshdtest.CheckLeaks(t)
	addr := closedAddr(t)
	dial, err := Proxy("socks5h://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	e := dialFails(soon(t), t, dial, "web1:22", "proxy socks5h://"+addr+": connection refused")
	if e.Target || !errors.Is(e, syscall.ECONNREFUSED) {
		t.Errorf("%#v", e)
	}
}

// TestProxyBadTarget checks that an address that cannot be sent to a proxy fails before the proxy
// is contacted.
func TestProxyBadTarget(t *testing.T) {
	sshdtest.CheckLeaks(t)
	dial, err := Proxy("http://" + loopback(t, func(net.Conn) { t.Error("the proxy was asked") }))
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{
		"web1", "web1:ssh", "web1:0", "web1:65536", ":22", "[fe80::1%eth0]:22", "wéb:22", "a\r\nEvil: x:22", "a b:22", strings.Repeat("n", 256) + ":22",
	} {
		if e := dialFails(soon(t), t, dial, addr, ""); !e.Target {
			t.Errorf("%q: the proxy is blamed: %v", addr, e)
		}
	}
}
