// Package tunnel carries TCP and Unix connections over channels of SSH connections. It parses
// addresses, listens on this machine, relays with half-close and reset, serves SOCKS and HTTP
// proxies, and reconnects. It does not open channels itself: see [Dialer] and [Stream].
package tunnel

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// maxClients bounds the number of connections that a tunnel carries at once, including connections
// that are still being made.
const maxClients = 1024

// Tunnel carries connections of clients, from the address where it listens to a target, until it
// ends. Its methods may be called by multiple goroutines at once.
type Tunnel struct {
	ctx    context.Context // ends with the tunnel
	cancel context.CancelFunc
	report func(Event)
	slots  chan struct{} // contains an element for each client
	wg     sync.WaitGroup

	mu      sync.Mutex // protects what follows
	addr    net.Addr
	ended   bool
	err     error           // why it has ended
	release func()          // closes the listener; called once, when the tunnel ends
	trouble map[string]bool // hosts for which TargetFailed has reported an event
}

// New returns a tunnel whose listener at addr is elsewhere, such as on a host. The owner of the
// listener calls Take for each client.
func New(report func(Event), addr net.Addr) *Tunnel {
	t := &Tunnel{report: report, slots: make(chan struct{}, maxClients), addr: addr, trouble: make(map[string]bool)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Addr returns the address that the tunnel listens on. It contains the port that was chosen if any
// port was requested.
func (t *Tunnel) Addr() net.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.addr
}

// SetAddr records the address that was chosen.
func (t *Tunnel) SetAddr(addr net.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addr = addr
}

// Context returns a context that ends with the tunnel.
func (t *Tunnel) Context() context.Context { return t.ctx }

// Wait waits until the tunnel and its connections have ended. It returns the reason: nil
// after Close, or the error passed to End.
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
	t.End(nil)
	t.wg.Wait()
	return nil
}

// End stops listening and starts to end the connections; Wait waits for them. Only the
// first reason counts.
func (t *Tunnel) End(why error) {
	t.mu.Lock()
	again := t.ended
	t.ended = true
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

// Go runs f in a goroutine that Wait and Close wait for. It returns false, and does not run
// f, if the tunnel has ended.
func (t *Tunnel) Go(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.wg.Go(f)
	return true
}

// OnEnd calls f when the tunnel ends, or at once if it has ended.
func (t *Tunnel) OnEnd(f func()) {
	t.mu.Lock()
	ended, before := t.ended, t.release
	if !ended {
		t.release = func() {
			if before != nil {
				before()
			}
			f()
		}
	}
	t.mu.Unlock()
	if ended {
		f()
	}
}

// Take runs f, which serves one client, as Go does. It returns false, and does not run f, if the
// tunnel has ended or already carries the maximum number of connections (busy).
func (t *Tunnel) Take(f func()) (ok, busy bool) {
	select {
	case t.slots <- struct{}{}:
	default:
		return false, true
	}
	ok = t.Go(func() {
		defer func() { <-t.slots }()
		f()
	})
	if !ok {
		<-t.slots
	}
	return ok, false
}

// ClientConn is the connection of a client of a tunnel. It can be half-closed.
type ClientConn interface {
	net.Conn
	CloseWrite() error
}

// TargetFailed reports that a host cannot connect clients to the target. It reports once until
// TargetReached is called. [Connector] reports that the host itself cannot be reached.
func (t *Tunnel) TargetFailed(host fmt.Stringer, err error) {
	t.mu.Lock()
	known := t.trouble[host.String()]
	t.trouble[host.String()] = true
	t.mu.Unlock()
	if !known && t.ctx.Err() == nil {
		t.report(Event{Kind: TargetFailed, Host: host, Err: err})
	}
}

// TargetReached records that a host has connected a client to the target.
func (t *Tunnel) TargetReached(host fmt.Stringer) {
	t.mu.Lock()
	delete(t.trouble, host.String())
	t.mu.Unlock()
}
