// Package tunnel carries connections over the channels of SSH connections: listening on
// this machine, relaying with half-close and reset, what callers of a SOCKS or HTTP proxy
// want, and having a host listen again when it was lost. How a channel is opened, and
// what its errors mean, is up to the caller: see [Way].
package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
)

// maxCallers is how many connections a tunnel carries at once, those that are being
// made included.
const maxCallers = 1024

// Tunnel carries connections from where it listens to somewhere else, until it ends. Its
// methods may be called by many goroutines at once.
type Tunnel struct {
	ctx    context.Context // ends with the tunnel
	cancel context.CancelFunc
	log    *slog.Logger
	slots  chan struct{} // holds a token for each caller
	wg     sync.WaitGroup

	mu      sync.Mutex // protects what follows
	addr    net.Addr
	over    bool
	err     error           // why it has ended
	release func()          // lets go of what the tunnel listens on; called once, when it ends
	trouble map[string]bool // hosts of which it was logged that they lead nowhere
}

// New returns a tunnel that listens on addr. It takes callers by Take.
func New(log *slog.Logger, addr net.Addr) *Tunnel {
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

// SetAddr notes the address that was chosen.
func (t *Tunnel) SetAddr(addr net.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addr = addr
}

// Context returns a context that ends with the tunnel.
func (t *Tunnel) Context() context.Context { return t.ctx }

// Wait waits until the tunnel and all it carried have ended, and says why: nil after
// Close, what End was given, or what kept the tunnel from listening.
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

// End ends the tunnel, with why if nothing has ended it before. Wait waits for all it carries.
func (t *Tunnel) End(why error) {
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

// Go runs f in a goroutine that Close waits for. It returns false if the tunnel has
// ended.
func (t *Tunnel) Go(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.wg.Go(f)
	return true
}

// OnEnd has f called when the tunnel ends, or now if it has.
func (t *Tunnel) OnEnd(f func()) {
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

// Take serves a caller with f, on a goroutine that Close waits for. It refuses if the
// tunnel has ended; busy says that it carries as many as it may.
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

// Caller is a connection that can end one of its directions.
type Caller interface {
	net.Conn
	CloseWrite() error
}

// Failed logs that callers get no connection from a host, once until one has got it again.
// That there is none to the host is logged where that is known.
func (t *Tunnel) Failed(host fmt.Stringer, err error) {
	t.mu.Lock()
	known := t.trouble[host.String()]
	t.trouble[host.String()] = true
	t.mu.Unlock()
	if !known && t.ctx.Err() == nil {
		t.log.Warn("tunnel leads nowhere", "host", host, "error", err)
	}
}

// Worked notes that a caller has got its connection.
func (t *Tunnel) Worked(host fmt.Stringer) {
	t.mu.Lock()
	delete(t.trouble, host.String())
	t.mu.Unlock()
}
