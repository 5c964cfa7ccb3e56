package fleettest

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
)

// Promptly limits operations that must not wait for a hostile host. It is less than the 30 seconds
// after which the library gives up such a host in any case.
const Promptly = 25 * time.Second

// Hostile starts a host that accepts every key and calls serve with each connection. When serve
// returns, the connection is closed. Hostile returns the configuration to connect to the host.
func Hostile(t testing.TB, serve func(conn ssh.Conn, channels <-chan ssh.NewChannel)) fleetssh.HostConfig {
	t.Helper()
	key := NewKey()
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(key)
	return Listening(t, key, func(raw net.Conn) {
		conn, channels, requests, err := ssh.NewServerConn(raw, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		serve(conn, channels)
	})
}

// Listening calls serve with each TCP connection, until the end of the test. It returns the
// configuration to connect to it as a host with the given host key.
func Listening(t testing.TB, key ssh.Signer, serve func(net.Conn)) fleetssh.HostConfig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	Accepting(t, l, serve)
	at := l.Addr().(*net.TCPAddr)
	return fleetssh.HostConfig{
		Host: "127.0.0.1", Port: at.Port, User: "alice",
		Auth:     fleetssh.Auth{Signers: []ssh.Signer{ClientKey()}, NoAgent: true, NoDefaultKeys: true},
		HostKeys: Trust(t, KnownLines(at.String(), key.PublicKey())...), ConnectTimeout: Patience, Attempts: 1, RetryDelay: -1,
	}
}

// Accepting calls serve with each connection of a listener, on one goroutine per connection, until
// the end of the test. It closes a connection when serve returns or the test ends.
func Accepting(t testing.TB, l net.Listener, serve func(net.Conn)) {
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			over := make(chan struct{})
			wg.Go(func() {
				defer close(over)
				serve(conn)
			})
			wg.Go(func() {
				select {
				case <-over:
				case <-ended:
				}
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(ended)
		wg.Wait()
	})
}

// ClosesPromptly closes c and expects that this does not wait for the other side.
func ClosesPromptly(t testing.TB, c io.Closer) {
	t.Helper()
	begun := time.Now()
	if err := c.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if took := time.Since(begun); took > Promptly {
		t.Errorf("closing took %v", took)
	}
}

// ClosedPort returns a port of 127.0.0.1 on which nobody listens, and nobody can listen until the
// end of the test: a connection uses it as its local port. A port that was merely free a moment ago
// could be assigned to another test, in this process or in another one.
func ClosedPort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().(*net.TCPAddr).Port
}

// TunnelTo parses the destination of a direct-tcpip channel (RFC 4254, section 7.2).
func TunnelTo(extra []byte) (host, address string) {
	var to struct {
		Host string
		Port uint32
		Rest []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(extra, &to); err != nil {
		panic(err)
	}
	return to.Host, net.JoinHostPort(to.Host, fmt.Sprint(to.Port))
}

// Clipped returns the first 40 bytes of a text, for messages.
func Clipped(s string) string { return s[:min(len(s), 40)] }
