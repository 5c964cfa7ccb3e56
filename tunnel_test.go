package fleetssh_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// answering starts a service that answers each caller with what answer does, and
// returns its address. It ends with the test.
func answering(t testing.TB, network string, answer func(net.Conn)) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(sshdtest.SharedDir(t), "service")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// summing reads to the end and only then answers: it needs half-closing.
func summing(conn net.Conn) {
	data, err := io.ReadAll(conn)
	if err != nil {
		return
	}
	conn.Write([]byte("got " + string(data)))
}

// echoing answers with what it gets.
func echoing(conn net.Conn) { io.Copy(conn, conn) }

// exchange says something to an address, ends its direction, and returns the answer.
func exchange(ctx context.Context, addr net.Addr, text string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return "", err
	}
	return say(conn, text)
}

func say(conn net.Conn, text string) (string, error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// works expects a tunnel to lead to summing.
func works(t testing.TB, tunnel *fleetssh.Tunnel) {
	t.Helper()
	answer, err := exchange(soon(t), tunnel.Addr(), "hello")
	if err != nil || answer != "got hello" {
		t.Errorf("%q, %v", answer, err)
	}
}

func closeTunnel(t testing.TB, tunnel *fleetssh.Tunnel) {
	t.Helper()
	if err := errors.Join(tunnel.Close(), tunnel.Close()); err != nil {
		t.Error(err)
	}
	if err := tunnel.Wait(); err != nil {
		t.Errorf("Wait after Close: %v", err)
	}
	if conn, err := net.Dial(tunnel.Addr().Network(), tunnel.Addr().String()); err == nil {
		conn.Close()
		t.Error("somebody listens after Close")
	}
}

// Both kinds of addresses work on all four sides, and both directions end on their own.
func TestSSHDTunnelAddresses(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{Config: []string{"StreamLocalBindUnlink yes"}})
	c := dial(t, host)
	dir := sshdtest.SharedDir(t)
	for _, test := range []struct{ listen, target string }{
		{"tcp", "tcp"}, {"tcp", "unix"}, {"unix", "tcp"}, {"unix", "unix"},
	} {
		target := answering(t, test.target, summing)
		for name, forward := range map[string]func(context.Context, string, string) (*fleetssh.Tunnel, error){
			"local": c.ForwardLocal, "remote": c.ForwardRemote,
		} {
			listen := "0"
			if test.listen == "unix" {
				listen = filepath.Join(dir, name+test.target)
			}
			tunnel, err := forward(soon(t), listen, target)
			if err != nil {
				t.Fatalf("%s %s to %s: %v", name, test.listen, test.target, err)
			}
			for range 3 {
				works(t, tunnel)
			}
			if name == "local" && test.listen == "unix" {
				if info, err := os.Stat(listen); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v, %v", info.Mode(), err)
				}
			}
			closeTunnel(t, tunnel)
			if _, err := os.Lstat(listen); name == "local" && err == nil {
				t.Error("the socket file is still there")
			}
		}
	}
}

// DialContext works with both kinds of addresses, and tells why it does not.
func TestSSHDDialContext(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	for _, network := range []string{"tcp", "unix"} {
		address := answering(t, network, summing)
		conn, err := c.DialContext(soon(t), network, address)
		if err != nil {
			t.Fatal(err)
		}
		if a := conn.RemoteAddr(); a.Network() != network || a.String() != address {
			t.Errorf("remote address %v", a)
		}
		if answer, err := say(conn, "hello"); err != nil || answer != "got hello" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	_, err = c.DialContext(soon(t), "tcp", free.Addr().String())
	if e := asError[*fleetssh.SessionError](t, err); e.Op != "forward" || !strings.Contains(err.Error(), free.Addr().String()+": Connection refused") {
		t.Errorf("%+v", e)
	}
	for _, address := range []string{"", "web1", ":0", "a b:1", "x:70000"} {
		_, err := c.DialContext(soon(t), "tcp", address)
		asError[*fleetssh.ConfigError](t, err)
	}
	if _, err := c.DialContext(soon(t), "udp", "localhost:53"); err == nil {
		t.Error("udp works")
	}
}
