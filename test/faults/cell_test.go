package faults

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/simfleet"
)

const (
	// limit is the time that calls get: by a context, a setting, or a stop after it.
	limit = 2 * time.Second
	// callGrace is how much longer a call may take. Stopping a command has steps of up
	// to ten seconds together; the rest is for machines that have much else to do.
	callGrace = 25 * time.Second
	// closeLimit is how long closing something may take. It is bounded by no setting.
	closeLimit = 25 * time.Second
)

// cell is one entry point against one fault.
type cell struct {
	t     testing.TB
	name  string
	fault simfleet.Fault
	entry entry

	bad, good *simfleet.Server
	dir       string // for files
	large     string // a file of sent bytes
	patient   bool   // the settings of the hosts end nothing: contexts and time-outs must

	limit time.Duration
	mu    sync.Mutex // protects the fields below
	late  string     // what has not come, or ended, in time
}

// clientKey is the key that the simulated hosts accept.
var clientKey = sync.OnceValue(func() ssh.Signer {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		panic(err)
	}
	return signer
})

// sent is how much is sent to a host that does not read: more than the systems keep, whose
// buffers are small.
const (
	sent        = 256 << 10
	smallBuffer = 8 << 10
)

// start starts the two hosts. It returns what ends them.
func (c *cell) start() (stop func()) {
	host := func(fault simfleet.Fault) *simfleet.Server {
		s, err := simfleet.Start(simfleet.Host{AuthorizedKeys: []ssh.PublicKey{clientKey().PublicKey()}, Dial: simfleet.DialLoopback, Fault: fault})
		if err != nil {
			c.t.Error(err)
			runtime.Goexit()
		}
		return s
	}
	c.bad, c.good = host(c.fault), host(simfleet.Fault{})
	return func() {
		c.bad.Close()
		c.good.Close()
	}
}

// config returns how to reach a host.
func (c *cell) config(s *simfleet.Server) fleetssh.HostConfig {
	file := filepath.Join(c.dir, strings.ReplaceAll(s.Addr(), ":", "_"))
	if err := os.WriteFile(file, []byte(s.KnownHostsLine()), 0o600); err != nil {
		c.t.Error(err)
	}
	known := &fleetssh.KnownHosts{Files: []string{file}}
	h := fleetssh.HostConfig{
		Host: s.Host(), Port: s.Port(), User: "alice", HostKeys: known, Attempts: 1,
		Auth: fleetssh.Auth{Signers: []ssh.Signer{clientKey()}, NoAgent: true, NoDefaultKeys: true},
	}
	if s == c.bad {
		h.DialContext = dialSmall
		if !c.patient {
			h.ConnectTimeout, h.KeepAlive = time.Second, 400*time.Millisecond
		}
	}
	return h
}

// dialSmall returns a connection on which writes wait soon.
func dialSmall(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	return conn, errors.Join(tcp.SetReadBuffer(smallBuffer), tcp.SetWriteBuffer(smallBuffer))
}

// fleet returns a client for the bad host, number 0, and the good one.
func (c *cell) fleet() *fleetssh.ParallelClient {
	return &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{c.config(c.bad), c.config(c.good)}}
}

// with calls f with such a client and closes it.
func (c *cell) with(f func(p *fleetssh.ParallelClient)) {
	p := c.fleet()
	f(p)
	c.closes("ParallelClient.Close", p.Close)
}

// dial calls f with a client of the bad host, if it lets in, and closes that.
func (c *cell) dial(f func(*fleetssh.Client)) {
	var client *fleetssh.Client
	c.ends("Dial", func(ctx context.Context) { client, _ = fleetssh.Dial(ctx, c.config(c.bad)) })
	if client == nil {
		return
	}
	f(client)
	c.closes("Client.Close", client.Close)
}

// ends calls f, which has to end when its context does. Without patience the context
// lasts.
func (c *cell) ends(what string, f func(context.Context)) {
	ctx := context.Background()
	if c.patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.limit)
		defer cancel()
	}
	c.within(c.limit+callGrace, what, func() { f(ctx) })
}

// closes calls f, which has to end by itself.
func (c *cell) closes(what string, f func() error) {
	c.within(closeLimit, what, func() { _ = f() })
}

// dumped is for the stacks of the first call that does not end.
var dumped sync.Once

// within calls f and gives the cell up if f does not end in time: the cell is retried once.
func (c *cell) within(limit time.Duration, what string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		c.isLate(fmt.Sprintf("%s has not ended after %v", what, limit))
		dumped.Do(func() {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			c.t.Log(stacks.String())
		})
		runtime.Goexit()
	}
}

// wants reports an unexpected result.
func (c *cell) wants(ok bool, what string, args ...any) {
	if !ok {
		c.t.Errorf("%s: %s", c.name, fmt.Sprintf(what, args...))
	}
}

// gets reports that the good host has not had its result. It may be for want of time: the
// cell is tried once more.
func (c *cell) gets(ok bool, what string, args ...any) {
	if !ok {
		c.isLate("the good host: " + fmt.Sprintf(what, args...))
	}
}

func (c *cell) isLate(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = why
}

// zeros is input that is large.
func zeros() io.Reader { return io.LimitReader(zeroReader{}, sent) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// echo listens on a port of its own and sends back what comes.
func echo(t testing.TB) (port int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// silentAgent listens as an SSH agent that never answers.
func silentAgent(t testing.TB, path string) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
}
