package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"fleetssh/internal/transport"
)

// maxCallers is how many connections a tunnel carries at once, those that are being
// made included.
const maxCallers = 1024

// Tunnel carries connections from where it listens to somewhere else. It works until
// Close; one of a [Client] ends with the client's connection too. Its methods may be
// called by many goroutines at once.
//
// Where a tunnel listens is written as "9100", ":9100" (on 127.0.0.1), "127.0.0.1:0"
// (any free port), "[::1]:8080", "*:9100" (on all addresses: nothing else makes that
// of it), or as the path of a socket: "/run/x.sock", or "unix:x.sock". Where it leads to is
// written in the same way; a port alone is one of localhost. Names are looked up on the side
// where the address is.
//
// A socket file here is for its owner alone (mode 0600) and removed by Close; one that
// is left from before and has no listener any more is replaced. A socket file on a host
// is of sshd's making: it stays when the tunnel ends, and sshd refuses to listen there again, unless
// its StreamLocalBindUnlink says otherwise.
//
// A tunnel carries 1024 connections at once. Further callers wait, and those of
// [Client.ForwardRemote] are refused. Both directions end on their own, as those of TCP do.
// A caller that does not read stops the one that sends to it, and nobody else; up to
// 2 MiB of what was sent to it are kept meanwhile. A connection
// that cannot be made, or breaks in the middle, ends with a reset, so that nobody takes
// what has come until then for the whole.
type Tunnel struct {
	ctx    context.Context // ends with the tunnel
	cancel context.CancelFunc
	log    *slog.Logger
	slots  chan struct{} // holds a token for each caller
	wg     sync.WaitGroup

	mu      sync.Mutex // protects what follows
	addr    net.Addr
	over    bool
	err     error  // why it has ended
	release func() // lets go of what the tunnel listens on; called once, when it ends
	trouble map[string]bool
}

func newTunnel(log *slog.Logger, addr net.Addr) *Tunnel {
	t := &Tunnel{log: log, slots: make(chan struct{}, maxCallers), addr: addr, trouble: make(map[string]bool)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Addr returns the address the tunnel listens on, with the port that was chosen if it
// was to be any.
func (t *Tunnel) Addr() net.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.addr
}

// Wait waits until the tunnel has ended and says why: nil after Close, a
// [*ConnectionError] when the connection to the host was lost, or what kept it from
// listening on.
func (t *Tunnel) Wait() error {
	<-t.ctx.Done()
	t.wg.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Close stops listening and ends the connections under way. It may be called more than
// once.
func (t *Tunnel) Close() error {
	t.end(nil)
	t.wg.Wait()
	return nil
}

// end ends the tunnel, with why if nothing has ended it before.
func (t *Tunnel) end(why error) {
	t.mu.Lock()
	again := t.over
	t.over = true
	if !again {
		t.err = why
	}
	release := t.release
	t.release = nil
	t.mu.Unlock()
	t.cancel()
	if release != nil {
		release()
	}
}

// spawn runs f in a goroutine that Close waits for. It returns false if the tunnel has
// ended.
func (t *Tunnel) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.wg.Go(f)
	return true
}

// onEnd has f called when the tunnel ends, or now if it has.
func (t *Tunnel) onEnd(f func()) {
	t.mu.Lock()
	over, before := t.over, t.release
	if !over {
		t.release = func() {
			if before != nil {
				before()
			}
			f()
		}
	}
	t.mu.Unlock()
	if over {
		f()
	}
}

// endsWith ends the tunnel when the connection of c has. Closing c waits for the tunnel.
// The error is that c is closed.
func (t *Tunnel) endsWith(c *Client) error {
	ok := c.spawn(func() {
		select {
		case <-t.ctx.Done():
		case <-c.done:
			t.end(c.lostTunnel())
		}
		t.wg.Wait()
	})
	if !ok {
		t.Close()
		return c.lostTunnel()
	}
	return nil
}

// callerConn is a connection that can end one of its directions.
type callerConn interface {
	net.Conn
	CloseWrite() error
}

// listenHere returns a tunnel that calls serve, on a goroutine of its own, for each who
// connects to an address of this machine. Closing the connection is up to serve.
func listenHere(ctx context.Context, log *slog.Logger, at endpoint, serve func(*Tunnel, callerConn)) (*Tunnel, error) {
	listener, err := listen(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at.address(), transport.WithoutAddress(err))
	}
	t := newTunnel(log, listener.Addr())
	t.release = func() { listener.Close() }
	t.wg.Go(func() { t.accept(listener, serve) })
	return t, nil
}

func listen(ctx context.Context, at endpoint) (net.Listener, error) {
	var config net.ListenConfig
	if at.path == "" {
		return config.Listen(ctx, "tcp", at.address())
	}
	listener, err := listenPrivately(ctx, at.path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return listener, err
	}
	info, statErr := os.Lstat(at.path)
	if statErr != nil || info.Mode().Type() != os.ModeSocket {
		return nil, err
	}
	var dialer net.Dialer
	conn, dialErr := dialer.DialContext(ctx, "unix", at.path)
	if dialErr == nil {
		conn.Close()
		return nil, err
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(at.path); err != nil {
		return nil, err
	}
	return listenPrivately(ctx, at.path)
}

// acceptPause is how long to wait, at first and at most, when there is no room for
// another connection in this process.
const acceptPause, longAcceptPause = 5 * time.Millisecond, time.Second

func (t *Tunnel) accept(listener net.Listener, serve func(*Tunnel, callerConn)) {
	pause := acceptPause
	for {
		select {
		case t.slots <- struct{}{}:
		case <-t.ctx.Done():
			return
		}
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			ok := t.spawn(func() {
				defer func() { <-t.slots }()
				serve(t, conn.(callerConn))
			})
			if !ok {
				conn.Close()
				return
			}
			continue
		case t.ctx.Err() != nil:
			return
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) && !errors.Is(err, syscall.ECONNABORTED):
			t.end(err)
			return
		}
		<-t.slots
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-t.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, longAcceptPause)
	}
}

// failed logs that callers get no connection, once until one has got it again. That there
// is none to the host is logged where that is known.
func (t *Tunnel) failed(host *HostConfig, err error) {
	t.mu.Lock()
	known := t.trouble[host.String()]
	t.trouble[host.String()] = true
	t.mu.Unlock()
	if !known && t.ctx.Err() == nil {
		t.log.Warn("tunnel leads nowhere", "host", *host, "error", err)
	}
}

// worked notes that a caller has got its connection.
func (t *Tunnel) worked(host *HostConfig) {
	t.mu.Lock()
	delete(t.trouble, host.String())
	t.mu.Unlock()
}

// reset ends a connection so that the other side takes it for broken.
func reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // closed already, at worst
	}
	conn.Close()
}
