package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// A server that forbids forwarding is reported, for every kind of tunnel.
func TestSSHDTunnelForbidden(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"AllowTcpForwarding no", "AllowStreamLocalForwarding no"}})
	c := fleettest.Dial(t, host)
	address, socket := fleettest.Answering(t, "tcp", fleettest.Summing), fleettest.Answering(t, "unix", fleettest.Summing)
	for _, test := range []struct{ network, address, want string }{
		{"tcp", address, address + ": the host does not allow it (AllowTcpForwarding"},
		{"unix", socket, socket + ": open failed (sshd says no more: there is no such socket"},
	} {
		_, err := c.DialContext(fleettest.Soon(t), test.network, test.address)
		if e := fleettest.AsError[*fleetssh.SessionError](t, err); e.Phase != "forward" || !strings.Contains(err.Error(), test.want) {
			t.Error(err)
		}
	}
	for _, listen := range []string{"0", "unix:" + socket + "2"} {
		_, err := c.ForwardRemote(fleettest.Soon(t), listen, address)
		if e := fleettest.AsError[*fleetssh.SessionError](t, err); e.Phase != "listen" || !strings.Contains(err.Error(), "the host does not allow it (Allow") {
			t.Error(err)
		}
	}
	tunnel, err := c.ForwardLocal(fleettest.Soon(t), "0", address)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := fleettest.Exchange(fleettest.Soon(t), tunnel.Addr(), "hello"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v", answer, err)
	}
	if out, err := c.Output(fleettest.Soon(t), "echo alive"); err != nil || string(out) != "alive\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// A port already in use on the host is reported as an error, and no tunnel opens.
func TestSSHDTunnelListenRefused(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	taken := fleettest.Answering(t, "tcp", fleettest.Echoing)
	_, port, _ := net.SplitHostPort(taken)
	_, err := c.ForwardRemote(fleettest.Soon(t), taken, taken)
	if e := fleettest.AsError[*fleetssh.SessionError](t, err); e.Phase != "listen" || !strings.Contains(err.Error(), port+": refused") {
		t.Error(err)
	}
	tunnel, err := c.ForwardRemote(fleettest.Soon(t), "0", taken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ForwardRemote(fleettest.Soon(t), tunnel.Addr().String(), taken)
	fleettest.AsError[*fleetssh.SessionError](t, err)
	if _, err := c.ForwardLocal(fleettest.Soon(t), taken, taken); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}

// If the server is killed during a transfer, the caller gets an error instead of the end of the
// data, and a tunnel of a Client ends and reports why.
func TestSSHDTunnelCut(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	half := fleettest.Answering(t, "tcp", func(conn net.Conn) {
		conn.Write([]byte("half"))
		io.Copy(io.Discard, conn)
	})
	local, err := c.ForwardLocal(fleettest.Soon(t), "0", half)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := c.ForwardRemote(fleettest.Soon(t), "0", half)
	if err != nil {
		t.Fatal(err)
	}
	dialed, err := c.DialContext(fleettest.Soon(t), "tcp", half)
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	called, err := net.Dial("tcp", local.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer called.Close()
	for _, conn := range []net.Conn{dialed, called} {
		got := make([]byte, 4)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "half" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	s.KillConnections()
	for _, conn := range []net.Conn{dialed, called} {
		conn.SetReadDeadline(time.Now().Add(fleettest.Patience))
		if rest, err := io.ReadAll(conn); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%T: %q, %v", conn, rest, err)
		}
	}
	for _, tunnel := range []*fleetssh.Tunnel{local, remote} {
		if e := fleettest.AsError[*fleetssh.ConnectionError](t, tunnel.Wait()); e.Phase != "forward" {
			t.Error(e)
		}
	}
}

// The tunnels of a fleet outlive their connections: the next caller gets a new connection, and
// the host listens again on the same port.
func TestSSHDTunnelsReconnect(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	p := fleettest.NewFleet(t, host)
	service := fleettest.Answering(t, "tcp", fleettest.Summing)
	local, err := p.ForwardLocal(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := p.ForwardRemote(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	at := remote[0].Addr().String()
	for range 3 {
		fleettest.Works(t, local[0])
		fleettest.Works(t, remote[0])
		s.KillConnections()
		fleettest.Eventually(t, "the tunnel to the host", func() bool {
			answer, err := fleettest.Exchange(fleettest.Soon(t), local[0].Addr(), "hello")
			return err == nil && answer == "got hello"
		})
		fleettest.Eventually(t, "the tunnel from the host", func() bool {
			answer, err := fleettest.Exchange(fleettest.Soon(t), remote[0].Addr(), "hello")
			return err == nil && answer == "got hello"
		})
		if now := remote[0].Addr().String(); now != at {
			t.Errorf("the host listens on %s, want %s as before", now, at)
		}
	}
	fleettest.CloseTunnel(t, local[0])
	fleettest.CloseTunnel(t, remote[0])
}

// Tunnels to unreachable hosts reset their callers. Callers soon after a failure do not wait.
func TestTunnelsOfUnreachableHosts(t *testing.T) {
	sshdtest.CheckLeaks(t)
	hosts := webHosts(t, "web1", "web2")
	hosts[0].Port = fleettest.ClosedPort(t)
	p := fleettest.NewFleet(t, hosts...)
	tunnels, err := p.ForwardLocal(fleettest.Soon(t), "0", "9100")
	if e := fleettest.AsError[*fleetssh.HostsError](t, err); len(e.Failed) != 1 || e.Failed[0].Index != 0 || len(tunnels) != 2 {
		t.Fatalf("%v, %d tunnels", err, len(tunnels))
	}
	for range 20 {
		if _, err := fleettest.Exchange(fleettest.Soon(t), tunnels[0].Addr(), "GET / HTTP/1.0\r\n\r\n"); err == nil {
			t.Error("connected to a host that is down")
		}
	}
	if answer := curl(t, "http://"+tunnels[1].Addr().String()+"/"); !strings.HasPrefix(answer, "web2 GET") {
		t.Error(answer)
	}
	for _, tunnel := range tunnels {
		fleettest.CloseTunnel(t, tunnel)
	}
}

// Hundreds of simultaneous connections each get their own data.
func TestSSHDTunnelManyAtOnce(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	const n = 300
	var connected sync.WaitGroup // the service answers when all callers are connected
	connected.Add(n)
	service := fleettest.Answering(t, "tcp", func(conn net.Conn) {
		connected.Done()
		connected.Wait()
		fleettest.Echoing(conn)
	})
	tunnel, err := c.ForwardLocal(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			text := strings.Repeat(fmt.Sprintf("caller %d ", i), 10_000)
			if answer, err := fleettest.Exchange(fleettest.Soon(t), tunnel.Addr(), text); err != nil || answer != text {
				t.Errorf("caller %d: %d of %d bytes, %v", i, len(answer), len(text), err)
			}
		})
	}
	wg.Wait()
}

// Callers that read slowly or not at all do not delay other callers on the connection. Their own
// senders wait, and no data is lost.
func TestSSHDTunnelStalled(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	const size, callers = 32 << 20, 3 // more bytes than all TCP buffers on the path hold
	data := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	var sent atomic.Int32
	service := fleettest.Answering(t, "tcp", func(conn net.Conn) {
		conn.Write(data)
		sent.Add(1)
	})
	tunnel, err := c.ForwardLocal(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	var stalled []net.Conn
	for range callers {
		conn, err := net.Dial("tcp", tunnel.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		stalled = append(stalled, conn)
	}
	slow, err := net.Dial("tcp", tunnel.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	slowDone := make(chan struct{})
	go func() {
		defer close(slowDone)
		for {
			// At this rate, reading takes longer than the test on any machine.
			if _, err := io.ReadFull(slow, make([]byte, 1<<10)); err != nil {
				return
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	defer func() {
		slow.Close()
		<-slowDone
	}()
	for range 3 {
		got, err := fleettest.Exchange(fleettest.Soon(t), tunnel.Addr(), "")
		if err != nil || got != string(data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		out, err := c.Output(fleettest.Soon(t), fmt.Sprintf("head -c %d /dev/zero", size))
		if err != nil || len(out) != size {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	}
	if n := sent.Load(); n != 3 {
		t.Errorf("%d connections have sent everything, want 3, since the others are not read", n)
	}
	for _, conn := range stalled {
		conn.SetReadDeadline(time.Now().Add(fleettest.Patience))
		rest, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(rest, data[16:]) {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
	}
}

// Unanswered callers on the host do not block the connection.
func TestSSHDRemoteListenerStalled(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	silent := fleettest.Answering(t, "tcp", func(conn net.Conn) { io.Copy(io.Discard, conn) })
	refusing := fmt.Sprint("127.0.0.1:", fleettest.ClosedPort(t))
	full, err := net.Listen("tcp", "127.0.0.1:0") // accepts no connection
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, target := range []string{silent, refusing, full.Addr().String()} {
		tunnel, err := c.ForwardRemote(fleettest.Soon(t), "0", target)
		if err != nil {
			t.Fatal(err)
		}
		var conns []net.Conn
		for range 200 {
			conn, err := net.Dial("tcp", tunnel.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for range 5 {
			if out, err := c.Output(fleettest.Soon(t), "echo alive"); err != nil || string(out) != "alive\n" {
				t.Fatalf("%q, %v", out, err)
			}
		}
		fleettest.CloseTunnel(t, tunnel)
		for _, conn := range conns {
			conn.Close()
		}
	}
}
