package login

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// talker is a server that sends the same text to every client.
type talker struct {
	addr  *net.TCPAddr
	calls atomic.Int32
}

// newTalker starts a talker. After the text it keeps the connection open if then is "waits", and
// otherwise closes it.
func newTalker(t *testing.T, text string, then string) *talker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &talker{addr: ln.Addr().(*net.TCPAddr)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			k.calls.Add(1)
			io.WriteString(c, text)
			if then == "waits" {
				io.Copy(io.Discard, c)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return k
}

func (k *talker) config() fleetssh.HostConfig {
	return fleetssh.HostConfig{
		Host: "127.0.0.1", Port: k.addr.Port, User: "alice", HostKeys: fleetssh.InsecureIgnoreHostKeys{},
		Auth: fleetssh.Auth{Password: "x"}, Attempts: 2, RetryDelay: -1, ConnectTimeout: fleettest.Lapse,
	}
}

// If a server sends something other than an SSH version, the error quotes it, escaped and
// shortened, and the client makes another attempt only if that may succeed.
func TestServerThatIsNotSSH(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("w", 600)
	tests := []struct {
		name, sent, then string
		said, text       string
		calls            int32
		timeout          bool
	}{
		{"penalty", "Not allowed at this time\r\n", "closes", "Not allowed at this time", `the host closed the connection: it said "Not allowed at this time" (2 attempts)`, 2, false},
		{"MaxStartups", "Exceeded MaxStartups\r\n", "closes", "Exceeded MaxStartups", `the host closed the connection: it said "Exceeded MaxStartups" (2 attempts)`, 2, false},
		{"nothing", "", "closes", "", "the host closed the connection (2 attempts)", 2, false},
		{"web server", "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "closes", "HTTP/1.1 400 Bad Request", `no SSH server: it said "HTTP/1.1 400 Bad Request`, 1, false},
		{"web server that stays", "HTTP/1.1 400 Bad Request\r\n", "waits", "HTTP/1.1 400 Bad Request", `no SSH server: it said "HTTP/1.1 400 Bad Request`, 1, false},
		{"FTP", "220 (vsFTPd 3.0.5)\r\n", "waits", "220 (vsFTPd 3.0.5)", `no SSH server: it said "220 (vsFTPd 3.0.5)"`, 1, false},
		{"VNC", "RFB 003.008\n", "waits", "RFB 003.008", `no SSH server: it said "RFB 003.008"`, 1, false},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x46", "waits", `^U^C^A^@^B^BF`, `no SSH server: it said "^U^C^A^@^B^BF"`, 1, false},
		{"SSH 1", "SSH-1.5-OpenSSH_1.2\n", "waits", "SSH-1.5-OpenSSH_1.2", `it speaks SSH 1 only: it said "SSH-1.5-OpenSSH_1.2"`, 1, false},
		{"other text", "hello\r\nwho are you?\r\n", "closes", "hello / who are you?", `no SSH server: it said "hello / who are you?"`, 1, false},
		{"other text and silence", "hello", "waits", "hello", `timed out after 10s: it said "hello"`, 1, true},
		{"busy and silence", "server busy\n", "waits", "server busy", `timed out after 10s: it said "server busy" (2 attempts)`, 2, true},
		{"escapes", "\x1b[2Jgo\u202eaway\x9b\n", "closes", `^[[2Jgo\u202eaway\x9b`, `it said "^[[2Jgo\u202eaway\x9b"`, 1, false},
		{"long", long + "\r\n", "closes", long[:400] + "…", "it said \"" + long[:400] + "…\"", 1, false},
		{"text, and the end after the version", "go away\r\nSSH-2.0-x\r\n", "closes", "go away", `the host closed the connection: it said "go away" (2 attempts)`, 2, false},
		{"long text before the version", long + "\r\nSSH-2.0-x\r\n", "closes", long[:400] + "…", "overflow reading version string: it said \"www", 1, false},
	}
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, test := range tests {
		all.Run(test.name, func(t *testing.T) {
			k := newTalker(t, test.sent, test.then)
			_, err := fleetssh.Dial(t.Context(), k.config())
			fleettest.Contains(t, err.Error(), test.text)
			if strings.Contains(err.Error(), "handshake failed") {
				t.Errorf("the error has the text of x/crypto: %v", err)
			}
			var said string
			var lost *fleetssh.ConnectionError
			var timeout *fleetssh.TimeoutError
			switch {
			case errors.As(err, &lost):
				said = lost.Said
			case errors.As(err, &timeout):
				said = timeout.Said
			}
			fleettest.Equal(t, "said", said, test.said)
			fleettest.Equal(t, "time-out", timeout != nil, test.timeout)
			fleettest.Equal(t, "connections", k.calls.Load(), test.calls)
		})
	}
}

// TestPenaltyIsWaitedFor has many hosts at one address, which rejects this client for a while
// (PerSourcePenalties of sshd). All hosts wait instead of adding to the penalty.
func TestPenaltyIsWaitedFor(t *testing.T) {
	t.Parallel()
	k := newTalker(t, "Not allowed at this time\r\n", "closes")
	host := k.config()
	host.RetryDelay = 0
	hosts := make([]fleetssh.HostConfig, 40)
	for i := range hosts {
		hosts[i] = host
	}
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 4
	ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
	defer cancel()
	if err := p.Connect(ctx); err == nil {
		t.Error("no error")
	}
	if n := k.calls.Load(); n > 4 {
		t.Errorf("%d connections during the penalty, PoolSize is 4", n)
	}
}

// After a refused connection, as while sshd restarts, the pause before the next attempt is much
// shorter than after a time-out.
func TestRefusedIsTriedAgainSoon(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, nil)
	host := s.Config()
	host.Port, host.Attempts, host.RetryDelay = fleettest.ClosedPort(t), 3, 0
	sshdtest.Within(t, "three attempts, with pauses of 0.6s and not 10s,", 8*time.Second, func() {
		begun := time.Now()
		_, err := fleetssh.Dial(t.Context(), host)
		fleettest.Contains(t, err.Error(), "connection refused (3 attempts)")
		if took := time.Since(begun); took < 500*time.Millisecond {
			t.Errorf("three attempts took %v", took)
		}
	})
	host.RetryDelay = time.Second // longer than the default pauses
	begun := time.Now()
	if _, err := fleetssh.Dial(t.Context(), host); time.Since(begun) < 2*time.Second {
		t.Errorf("with a pause of a second three attempts took %v: %v", time.Since(begun), err)
	}
}

// TestDirectHostsArePaced has many hosts at one address, which drops connections when more than a
// few log in at once. The client then connects as fast as the address accepts connections.
func TestDirectHostsArePaced(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, func(h *simfleet.Host) { h.MaxStartups, h.Latency = 5, 10*time.Millisecond })
	host := s.Config()
	host.Attempts, host.RetryDelay = 6, 30*time.Millisecond
	hosts := make([]fleetssh.HostConfig, 50)
	for i := range hosts {
		hosts[i] = host
	}
	p := fleettest.NewFleet(t, hosts...)
	if err := p.Connect(t.Context()); err != nil {
		t.Error(err)
	}
	st := s.Stats()
	if st.Logins != len(hosts) {
		t.Errorf("%d logins for %d hosts", st.Logins, len(hosts))
	}
	if st.Dropped > len(hosts)*2 {
		t.Errorf("%d connections dropped", st.Dropped)
	}
	t.Logf("%d connections dropped", st.Dropped)
}
