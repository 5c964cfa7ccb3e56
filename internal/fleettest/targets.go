package fleettest

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// Answering starts a service that calls answer with each connection, and returns its address. The
// service ends with the test.
func Answering(t testing.TB, network string, answer func(net.Conn)) string {
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

// Summing reads to the end of file and only then answers, so it works only if the tunnel supports
// half-closed connections.
func Summing(conn net.Conn) {
	data, err := io.ReadAll(conn)
	if err != nil {
		return
	}
	conn.Write([]byte("got " + string(data)))
}

// Echoing sends back what it receives.
func Echoing(conn net.Conn) { io.Copy(conn, conn) }

// Exchange connects to an address, sends a text, closes its direction, and returns the answer.
func Exchange(ctx context.Context, addr net.Addr, text string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return "", err
	}
	return Say(conn, text)
}

// Say sends a text on a connection, closes its direction, and returns the answer. It closes the
// connection.
func Say(conn net.Conn, text string) (string, error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(Patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// Works expects a tunnel to lead to a service that runs [Summing].
func Works(t testing.TB, tunnel *fleetssh.Tunnel) {
	t.Helper()
	answer, err := Exchange(Soon(t), tunnel.Addr(), "hello")
	if err != nil || answer != "got hello" {
		t.Errorf("%q, %v", answer, err)
	}
}

// CloseTunnel closes a tunnel twice. It expects no error, and that nobody listens afterwards.
func CloseTunnel(t testing.TB, tunnel *fleetssh.Tunnel) {
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
