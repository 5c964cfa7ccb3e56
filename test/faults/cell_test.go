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
	// limit is the time-out of a call: of its context or of a setting.
	limit = 2 * time.Second
	// callGrace is how much longer than its time-out a call may take. The steps of stopping a
	// command take up to ten seconds together; the rest is for busy machines.
	callGrace = 25 * time.Second
	// closeLimit is how long closing may take. No setting changes that.
	closeLimit = 25 * time.Second
)

// cell is one cell of the matrix: one entry point against one fault.
type cell struct {
	t     testing.TB
	name  string
	fault simfleet.Fault
	entry entry

	bad, good *simfleet.Server
	dir       string // a temporary directory of the cell
	large     string // the path of a file of sent bytes
	patient   bool   // keep-alive is too slow to end a call, so contexts and time-outs must

	limit time.Duration
	mu    sync.Mutex // protects late
	late  string     // what did not happen in time; "" means nothing
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

// sent is how many bytes are sent to a host that does not read: more than all buffers on the way
// hold. smallBuffer is the size of the socket buffers.
const (
	sent        = 256 << 10
	smallBuffer = 8 << 10
)

// start starts the two hosts. stop ends them.
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

// config returns a configuration for a host.
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

// dialSmall returns a connection on which writes block soon.
func dialSmall(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	return conn, errors.Join(tcp.SetReadBuffer(smallBuffer), tcp.SetWriteBuffer(smallBuffer))
}

// fleet returns a client for the bad host (index 0) and the good one (index 1).
func (c *cell) fleet() *fleetssh.ParallelClient {
	return &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{c.config(c.bad), c.config(c.good)}}
}

// with calls f with the client of fleet, and closes it.
func (c *cell) with(f func(p *fleetssh.ParallelClient)) {
	p := c.fleet()
	f(p)
	c.closes("ParallelClient.Close", p.Close)
}

// dial calls f with a client of the bad host, and closes it. If connecting fails, dial does
// nothing.
func (c *cell) dial(f func(*fleetssh.Client)) {
	var client *fleetssh.Client
	c.ends("Dial", func(ctx context.Context) { client, _ = fleetssh.Dial(ctx, c.config(c.bad)) })
	if client == nil {
		return
	}
	f(client)
	c.closes("Client.Close", client.Close)
}

// ends calls f, which must end soon after its context. If the cell is not patient, the context
// never ends, and keep-alive must end f.
func (c *cell) ends(what string, f func(context.Context)) {
	ctx := context.Background()
	if c.patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.limit)
		defer cancel()
	}
	c.within(c.limit+callGrace, what, func() { f(ctx) })
}

// closes calls f, which must end by itself within closeLimit.
func (c *cell) closes(what string, f func() error) {
	c.within(closeLimit, what, func() { _ = f() })
}

// dumped limits the log to the stacks of the first call that does not end.
var dumped sync.Once

// within calls f. If f does not end in time, within ends the cell, which is tried again in the next
// round.
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

// gets reports that the good host has not had its result. A busy machine may be the reason, so the
// cell is tried again in the next round.
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

// zeros returns sent zero bytes.
func zeros() io.Reader { return io.LimitReader(zeroReader{}, sent) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// echo starts a service that sends back what it receives.
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

// silentAgent starts an SSH agent that never answers.
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
