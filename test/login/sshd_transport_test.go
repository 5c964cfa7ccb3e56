package login

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// startForward starts an OpenSSH client with a forwarding option, such as "-D 127.0.0.1:1080", and
// waits until it is ready. It returns the command line of the client without the option. Without an
// option, it starts nothing.
func startForward(t testing.TB, s *sshdtest.Server, key *sshdtest.Key, ready func() bool, option ...string) (client []string) {
	t.Helper()
	dir := t.TempDir()
	identity, known := filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts")
	key.Write(t, identity, "")
	if err := os.WriteFile(known, []byte(strings.Join(fleettest.KnownLines(s.Address(), fleettest.KeysOf(s)...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client = []string{"ssh", "-F", "none", "-o", "BatchMode=yes", "-i", identity, "-o", "UserKnownHostsFile=" + known,
		"-l", sshdtest.CurrentUser(t), "-p", fmt.Sprint(s.Port), s.Host}
	if option == nil {
		return client
	}
	cmd := exec.Command(client[0], append(append([]string{"-N", "-o", "ExitOnForwardFailure=yes"}, option...), client[1:]...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	sshdtest.Eventually(t, fleettest.Patience, "the forwarding", ready)
	return client
}

// freePort returns a local address on which nothing listens.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answers returns a function that reports whether an address accepts connections.
func answers(network, address string) func() bool {
	return func() bool {
		conn, err := net.Dial(network, address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
}

// httpProxy starts an HTTP proxy that accepts only CONNECT, from one user.
func httpProxy(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	serve := func(client net.Conn) {
		defer client.Close()
		r := bufio.NewReader(client)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		req.Header.Set("Authorization", req.Header.Get("Proxy-Authorization"))
		if user, password, _ := req.BasicAuth(); req.Method != "CONNECT" || user != "u" || password != "s3cret" {
			io.WriteString(client, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			return
		}
		host, err := net.Dial("tcp", req.Host)
		if err != nil {
			io.WriteString(client, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
			return
		}
		defer host.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		wg.Go(func() {
			io.Copy(host, r)
			host.(*net.TCPConn).CloseWrite()
		})
		io.Copy(client, host)
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// SSH runs over any transport: SOCKS and Unix sockets of OpenSSH itself, HTTP CONNECT, a command,
// and a function of the user.
func TestSSHDTransports(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	via := sshdtest.Start(t, sshdtest.Options{})
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	via.Authorize(t, sshdtest.CurrentUser(t), key.Public())
	target, host := fleettest.StartSSHD(t, sshdtest.Options{})
	socks, socket := freePort(t), filepath.Join(sshdtest.SharedDir(t), "forward")
	startForward(t, via, key, answers("tcp", socks), "-D", socks)
	startForward(t, via, key, answers("unix", socket), "-L", socket+":"+fmt.Sprintf("%s:%d", target.Host, target.Port))
	ssh := startForward(t, via, key, nil)
	web := httpProxy(t)

	proxy := func(url string) func(context.Context, string, string) (net.Conn, error) {
		dial, err := fleetssh.DialProxy(url)
		if err != nil {
			t.Fatal(err)
		}
		return dial
	}
	command := func(line string) func(context.Context, string, string) (net.Conn, error) {
		dial, err := fleetssh.DialCommand(line)
		if err != nil {
			t.Fatal(err)
		}
		return dial
	}
	var own net.Dialer
	closedPort := freePort(t)
	for _, test := range []struct {
		name   string
		dial   func(context.Context, string, string) (net.Conn, error)
		broken func(context.Context, string, string) (net.Conn, error) // fails as a proxy
		text   string                                                  // of that error
		secret string                                                  // that must not be in it
	}{
		{"socks5", proxy("socks5://" + socks), proxy("socks5://user:s3cret@" + closedPort), "connect socks5://" + closedPort + ": connection refused", "s3cret"},
		{"socks5h", proxy("socks5h://" + socks), proxy("socks5h://" + via.Address()[1:len("127.0.0.1")+1] + fmt.Sprint(":", via.Port)), "socks5h://127.0.0.1", ""},
		{"http", proxy("http://u:s3cret@" + web), proxy("http://u:wr0ng@" + web), "407 Proxy Authentication Required", "wr0ng"},
		{"unix", proxy("unix://" + socket), proxy("unix://" + socket + ".not"), "no such file", ""},
		{"command", command(strings.Join(append([]string{ssh[0], "-W", "%h:%p"}, ssh[1:]...), " ")), command("sh -c 'echo not today >&2; exit 7' s3cret"), "not today", "s3cret"},
		{"function", own.DialContext, func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrPermission }, "permission", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := host
			h.Attempts, h.DialContext = 1, test.dial
			fleettest.Equal(t, "output", fleettest.Output(t, fleettest.Dial(t, h), "echo ${SSH_CONNECTION##* }"), fmt.Sprintln(target.Port))
			// A fleet uses the transport for all hosts at once.
			p := fleettest.NewFleet(t, h, h, h, h, h, h)
			if _, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "head -c 1000000 /dev/zero"}); err != nil {
				t.Fatal(err)
			}
			if err := p.Join(fleettest.Soon(t), nil); err != nil {
				t.Fatal(err)
			}
			p.Close()

			h.DialContext, h.Attempts = test.broken, 2
			_, err := fleetssh.Dial(fleettest.Soon(t), h)
			if test.name == "function" {
				e := fleettest.AsError[*fleetssh.ConnectionError](t, err)
				fleettest.Equal(t, "phase", e.Phase, "connect")
			} else {
				e := fleettest.AsError[*fleetssh.ConnectionError](t, fleettest.AsError[*fleetssh.ProxyError](t, err).Err)
				attempts := 2
				if test.name == "command" { // a command that exits with an error is not retried
					attempts = 1
				}
				fleettest.Equal(t, "attempts", e.Attempts, attempts)
			}
			fleettest.Contains(t, err.Error(), test.text)
			if test.secret != "" && strings.Contains(err.Error(), test.secret) {
				t.Errorf("%q contains the secret", err)
			}
		})
	}
	t.Run("the proxy cannot reach the host", func(t *testing.T) {
		h := host
		h.Port, h.Attempts, h.DialContext = 1, 1, proxy("http://u:s3cret@"+web)
		_, err := fleetssh.Dial(fleettest.Soon(t), h)
		e := fleettest.AsError[*fleetssh.ConnectionError](t, err)
		fleettest.Equal(t, "phase", e.Phase, "connect")
		if fleettest.Is[*fleetssh.ProxyError](err) {
			t.Error(err)
		}
	})
	t.Run("bad descriptions", func(t *testing.T) {
		if _, err := fleetssh.DialProxy("ftp://u:s3cret@x"); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Error(err)
		}
		if _, err := fleetssh.DialCommand("nc %z"); err == nil {
			t.Error("an unknown token is accepted")
		}
	})
}
