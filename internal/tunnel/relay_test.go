package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

const patience = time.Minute

// stream is a Stream whose other end is a TCP connection in the test.
type stream struct {
	*net.TCPConn
	requests  chan *ssh.Request
	broken    chan struct{} // closed when the connection is lost
	closeOnce sync.Once
	wg        sync.WaitGroup
	left      chan struct{}
}

var errLost = errors.New("lost")

func (s *stream) Requests() <-chan *ssh.Request { return s.requests }
func (s *stream) CloseSoon()                    { s.closeOnce.Do(func() { s.TCPConn.Close(); close(s.requests) }) }
func (s *stream) Leave()                        { close(s.left) }
func (s *stream) Abandon()                      { s.Leave(); s.CloseSoon() }
func (s *stream) Go(f func()) bool              { s.wg.Go(f); return true }
func (s *stream) Done() <-chan struct{}         { return s.broken }
func (s *stream) Broken() bool                  { return isClosed(s.broken) }
func (s *stream) Lost() error                   { return errLost }

// lose ends the SSH connection.
func (s *stream) lose() {
	close(s.broken)
	s.CloseSoon()
}

// connected returns both ends of a TCP connection.
func connected(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{one, other} {
		conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { conn.Close() })
	}
	return one.(*net.TCPConn), other.(*net.TCPConn)
}

// newStream returns a stream, and the host's end of it.
func newStream(t *testing.T) (*stream, *net.TCPConn) {
	here, there := connected(t)
	s := &stream{TCPConn: here, requests: make(chan *ssh.Request), broken: make(chan struct{}), left: make(chan struct{})}
	t.Cleanup(s.wg.Wait)
	return s, there
}

// Each direction ends on its own, and the channel is left when both have.
func TestRelay(t *testing.T) {
	t.Parallel()
	s, host := newStream(t)
	client, us := connected(t)
	done := make(chan struct{})
	go func() { defer close(done); Relay(t.Context(), s, us) }()
	io.WriteString(client, "question")
	client.CloseWrite()
	if sent, err := io.ReadAll(host); err != nil || string(sent) != "question" {
		t.Errorf("the host has got %q, %v", sent, err)
	}
	io.WriteString(host, "answer")
	host.CloseWrite()
	if sent, err := io.ReadAll(client); err != nil || string(sent) != "answer" {
		t.Errorf("the client has got %q, %v", sent, err)
	}
	<-done
	<-s.left
}

// A client is reset when the connection to the host is lost.
func TestRelayLost(t *testing.T) {
	t.Parallel()
	s, host := newStream(t)
	client, us := connected(t)
	done := make(chan struct{})
	go func() { defer close(done); Relay(t.Context(), s, us) }()
	io.WriteString(host, "half of")
	if _, err := io.ReadFull(client, make([]byte, len("half of"))); err != nil {
		t.Fatal(err)
	}
	s.lose()
	if n, err := client.Read(make([]byte, 1)); n > 0 || err == nil || err == io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
	<-done
	<-s.left
}

// A connection ends with an error if the SSH connection is lost, otherwise with EOF.
func TestConn(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		s, host := newStream(t)
		conn, err := NewConn(t.Context(), s, s.LocalAddr(), Address{Host: "db", Port: 5432}.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.RemoteAddr().String(); got != "db:5432" {
			t.Errorf("the address is %s", got)
		}
		io.WriteString(conn, "question")
		if _, err := io.ReadFull(host, make([]byte, len("question"))); err != nil {
			t.Fatal(err)
		}
		if lost {
			s.lose()
		} else {
			host.CloseWrite()
		}
		_, err = conn.Read(make([]byte, 1))
		if lost && !errors.Is(err, errLost) || !lost && err != io.EOF {
			t.Errorf("lost: %v; %v", lost, err)
		}
		conn.Close()
		<-s.left
	}
}

// A tunnel waits for its clients, and accepts none when it has ended.
func TestTunnel(t *testing.T) {
	t.Parallel()
	at, err := ParseListen("0")
	if err != nil {
		t.Fatal(err)
	}
	begun, served := make(chan struct{}), make(chan struct{})
	tun, err := Listen(t.Context(), func(Event) {}, at, func(tun *Tunnel, client ClientConn) {
		defer close(served)
		close(begun)
		<-tun.Context().Done()
		client.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", tun.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-begun
	for full := false; !full; {
		_, full = tun.Take(func() { <-tun.Context().Done() })
	}
	ended := false
	tun.OnEnd(func() { ended = true })
	why := errors.New("why")
	tun.End(why)
	if err := tun.Wait(); err != why || !ended {
		t.Errorf("%v, %v", err, ended)
	}
	<-served
	if ok, busy := tun.Take(func() {}); ok || busy {
		t.Errorf("%v, %v", ok, busy)
	}
}
