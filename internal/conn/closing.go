package conn

import (
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Closing a channel, ending its input and answering a request are writes, and a host that does
// not read blocks them. Whoever must not wait leaves them to goroutines of the connection,
// which close the connection if nothing moves on it any more.

// CloseGrace is how long the end of a channel may take to be sent or confirmed while nothing
// moves on the connection.
const CloseGrace = 2 * time.Second

// CloseSoon closes a channel without waiting for it.
func (c *Conn) CloseSoon(channel io.Closer) {
	c.SaySoon(func() { channel.Close() }) // if c is closed, the channel has ended
}

// Discard is CloseSoon for a channel that has not been used.
func (c *Conn) Discard(channel io.Closer, requests <-chan *ssh.Request) {
	c.CloseSoon(channel)
	take := func() { ssh.DiscardRequests(requests) }
	if !c.Go(take) {
		go take() // Close waits for the end of the connection, which waits for this
	}
}

// SaySoon calls f, which sends something that needs no answer, on a goroutine of the
// connection. If it cannot be sent, the connection is closed.
func (c *Conn) SaySoon(f func()) {
	c.Go(func() {
		defer c.patience().end()
		f()
	})
}

// closePatience is how long a message or its confirmation may wait behind other traffic. A slow
// line needs part of it: an interrupted copy has up to 2 MiB on the way. A host that sends for
// ever and confirms nothing causes traffic, too, and must not wait longer.
const closePatience = 10 * CloseGrace

// patience closes a connection on which nothing moves, or on which traffic outlasts
// closePatience.
type patience struct {
	conn  *Conn
	timer *time.Timer

	mu      sync.Mutex // protects what follows
	over    bool
	waited  time.Duration // up to the last look
	still   time.Duration // for how long nothing had moved by then
	carried int64         // by the connection, up to then
}

// patience returns one that lasts until its end is called.
func (c *Conn) patience() *patience {
	p := &patience{conn: c, carried: c.wire.carried()}
	p.timer = time.AfterFunc(time.Hour, p.look)
	p.timer.Reset(CloseGrace)
	return p
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}

func (p *patience) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	now := p.conn.wire.carried()
	moved := now - p.carried
	p.carried = now
	p.waited += CloseGrace
	p.still += CloseGrace
	if moved >= Slowest*int64(CloseGrace/time.Second) {
		p.still = 0 // what has to be said waits behind what moves
	}
	grace := CloseGrace
	if p.conn.users.several() {
		grace = leastStall // others would lose their connection to a host that is only busy
	}
	if p.still < grace && p.waited < closePatience {
		p.timer.Reset(CloseGrace)
		return
	}
	p.conn.Go(func() { p.conn.Link().Close() })
}
