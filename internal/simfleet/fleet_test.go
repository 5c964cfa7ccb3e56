package simfleet

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestFleet(t *testing.T) {
	t.Parallel()
	key := newSigner(t)
	const n = 300
	f, err := StartFleet(n, 0, func(i int, h *Host) {
		h.Name = fmt.Sprintf("host%d", i)
		h.AuthorizedKeys = []ssh.PublicKey{key.PublicKey()}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hosts := f.Hosts()
	if hosts[0] != "127.1.0.1" || hosts[253] != "127.1.0.254" || hosts[254] != "127.1.1.1" {
		t.Errorf("addresses: %v", hosts)
	}
	if lines := bytes.Count(f.KnownHosts(), []byte("\n")); lines != n {
		t.Errorf("%d lines of known_hosts", lines)
	}
	var running sync.WaitGroup
	pool := make(chan struct{}, 20)
	for i, s := range f.Servers {
		pool <- struct{}{}
		running.Go(func() {
			defer func() { <-pool }()
			client, err := login(f.Addrs()[i], s.HostKeys()[0], ssh.PublicKeys(key))
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			if r := runLine(t, client, "true && hostname", ""); r.stdout != fmt.Sprintf("host%d\n", i) {
				t.Errorf("host %d: %+v", i, r)
			}
		})
	}
	running.Wait()
	for _, s := range f.Servers {
		if st := s.Stats(); st.Logins != 1 || len(st.Commands) != 1 {
			t.Errorf("%s: %+v", s.Name(), st)
		}
	}
}

func TestFleetAddr(t *testing.T) {
	t.Parallel()
	for i, want := range map[int]string{
		0: "127.1.0.1", 254*256 - 1: "127.1.255.254", 254 * 256: "127.2.0.1", maxFleet - 1: "127.254.255.254",
	} {
		if got := fleetAddr(i).String(); got != want {
			t.Errorf("host %d is %s, want %s", i, got, want)
		}
	}
}

// echoServer starts a server that sends back what it receives, until the end of file. It returns
// the server's address.
func echoServer(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

func startProxy(t testing.TB, rtt time.Duration) (*Proxy, net.Conn) {
	t.Helper()
	target := echoServer(t)
	p, err := StartDelayProxy(target, rtt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * patience))
	return p, conn
}

func TestProxyDelaysWithoutLimitingThroughput(t *testing.T) {
	t.Parallel()
	const rtt = 300 * time.Millisecond
	_, conn := startProxy(t, rtt)
	begin := time.Now()
	conn.Write([]byte("x"))
	io.ReadFull(conn, make([]byte, 1))
	if took := time.Since(begin); took < rtt {
		t.Errorf("a round trip took %v", took)
	}
	// 32 MiB with one 32 KiB buffer per round trip would take five minutes.
	const size = 32 << 20
	begin = time.Now()
	var writing sync.WaitGroup
	writing.Go(func() {
		block := make([]byte, 1<<20)
		for range size / len(block) {
			conn.Write(block)
		}
		conn.(*net.TCPConn).CloseWrite()
	})
	n, err := io.Copy(io.Discard, conn)
	writing.Wait()
	if took := time.Since(begin); n != size || err != nil || took > 2*patience {
		t.Errorf("%d bytes in %v, %v", n, took, err)
	}
}

func TestProxyStallAndCut(t *testing.T) {
	t.Parallel()
	p, conn := startProxy(t, 0)
	answer := make([]byte, 1)
	conn.Write([]byte("a"))
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 'a' {
		t.Fatalf("%q, %v", answer, err)
	}
	p.Stall()
	conn.Write([]byte("b"))
	conn.SetReadDeadline(time.Now().Add(silence))
	if n, err := conn.Read(answer); n > 0 || !isTimeout(err) {
		t.Errorf("stalled: %d bytes, %v", n, err)
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	p.Resume()
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != 'b' {
		t.Errorf("resumed: %q, %v", answer, err)
	}
	p.Cut()
	if _, err := conn.Read(answer); err == nil || isTimeout(err) || !strings.Contains(err.Error(), "reset") {
		t.Errorf("cut: %v", err)
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	const rtt = 30 * time.Millisecond
	s := start(t, Host{Latency: rtt})
	client := dial(t, s)
	begin := time.Now()
	client.SendRequest("keepalive@openssh.com", true, nil)
	if took := time.Since(begin); took < rtt {
		t.Errorf("a round trip took %v", took)
	}
	if r := runLine(t, client, "bytes 4000000", ""); len(r.stdout) != 4_000_000 {
		t.Errorf("%d bytes", len(r.stdout))
	}
}

func BenchmarkStartFleet(b *testing.B) {
	const hosts = 5000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		f, err := StartFleet(hosts, 0, nil)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/hosts, "B/host")
		f.Close()
	}
}

// BenchmarkLoginAndRun measures one connection, one login by key and one command. Half of it is the
// client.
func BenchmarkLoginAndRun(b *testing.B) {
	key := newSigner(b)
	s := start(b, Host{AuthorizedKeys: []ssh.PublicKey{key.PublicKey()}})
	for b.Loop() {
		client, err := login(s.Addr(), s.HostKeys()[0], ssh.PublicKeys(key))
		if err != nil {
			b.Fatal(err)
		}
		runLine(b, client, "true", "")
		client.Close()
	}
}

// BenchmarkOpenConnection measures the memory of a connection after the login. Half of it is the
// client's.
func BenchmarkOpenConnection(b *testing.B) {
	key := newSigner(b)
	s := start(b, Host{AuthorizedKeys: []ssh.PublicKey{key.PublicKey()}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	connections := 0
	for b.Loop() {
		dial(b, s, ssh.PublicKeys(key))
		connections++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/float64(connections), "B/conn")
}
