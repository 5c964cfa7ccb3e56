package tunnel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// Go's web server serves a port of the host: with keep-alive, many clients at once, and an orderly
// shutdown.
func TestSSHDListenHTTP(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	l, err := c.Listen(fleettest.Soon(t), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s says %s", from, data)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	client := &http.Client{Transport: transport, Timeout: fleettest.Patience}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 20 {
				said := fmt.Sprint(i, " ", k)
				answer, err := client.Post("http://"+l.Addr().String()+"/", "text/plain", io.NopCloser(reader(said)))
				if err != nil {
					t.Error(err)
					return
				}
				data, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if want := "127.0.0.1 says " + said; err != nil || string(data) != want {
					t.Errorf("%q, %v", data, err)
				}
			}
		})
	}
	wg.Wait()
	transport.CloseIdleConnections()
	if err := server.Shutdown(fleettest.Soon(t)); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the host still listens")
	}
}

// reader returns a reader whose type does not reveal the length of the text, so that net/http
// sends it in chunks.
func reader(text string) io.Reader {
	r, w := io.Pipe()
	go func() { io.WriteString(w, text); w.Close() }()
	return r
}

// Accepted connections have addresses, deadlines and two independent directions, and outlive the
// listener. Close ends Accept.
func TestSSHDListen(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"StreamLocalBindUnlink yes"}})
	c := fleettest.Dial(t, host)
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(sshdtest.SharedDir(t), "listen")} {
		l, err := c.Listen(fleettest.Soon(t), network, address)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Addr().(*net.TCPAddr); ok != (network == "tcp") || l.Addr().Network() != network {
			t.Errorf("the listener has the address %T, %v", l.Addr(), l.Addr())
		}
		caller, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if conn.LocalAddr() != l.Addr() || network == "tcp" && conn.RemoteAddr().String() != caller.LocalAddr().String() || conn.RemoteAddr().Network() != network {
			t.Errorf("%v to %v", conn.RemoteAddr(), conn.LocalAddr())
		}
		conn.SetReadDeadline(time.Now().Add(-time.Second))
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, %v", n, err)
		}
		conn.SetReadDeadline(time.Time{})

		ended := make(chan error, 2)
		for range 2 {
			go func() { _, err := l.Accept(); ended <- err }()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		for range 2 {
			if e := fleettest.AsError[*net.OpError](t, <-ended); e.Op != "accept" || e.Err != net.ErrClosed {
				t.Errorf("%#v", e)
			}
		}

		go func() { fleettest.Summing(conn); conn.Close() }()
		if answer, err := fleettest.Say(caller, "hello"); err != nil || answer != "got hello" {
			t.Errorf("%q, %v", answer, err)
		}
	}
}

// Accept reports that the connection to the host is lost.
func TestSSHDListenLost(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	l, err := c.Listen(fleettest.Soon(t), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	s.KillConnections()
	for {
		conn, err := l.Accept()
		if err == nil {
			conn.Close() // accepted before the connection was lost
			continue
		}
		if e := fleettest.AsError[*fleetssh.ConnectionError](t, err); e.Phase != "forward" {
			t.Error(e)
		}
		break
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// An invalid address is refused before the host is asked; an address in use is refused by the host.
func TestSSHDListenErrors(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	for _, address := range []string{"", "8080", "x:y:1", "localhost:70000", "a b:1"} {
		_, err := c.Listen(fleettest.Soon(t), "tcp", address)
		fleettest.AsError[*fleetssh.ConfigError](t, err)
	}
	_, err := c.Listen(fleettest.Soon(t), "udp", "localhost:0")
	if e := fleettest.AsError[*net.OpError](t, err); e.Op != "listen" {
		t.Error(e)
	}
	taken := fleettest.Answering(t, "tcp", fleettest.Echoing)
	_, err = c.Listen(fleettest.Soon(t), "tcp", taken)
	if e := fleettest.AsError[*fleetssh.SessionError](t, err); e.Phase != "listen" {
		t.Error(e)
	}
}
