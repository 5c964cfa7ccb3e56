package conn

import (
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Closing a channel, ending its input, answering a request: each is a write, and may take
// as long as the host does not read. What has to end leaves them to goroutines of the
// client, with a patience that ends the connection when it comes to that.

// CloseGrace is how long a host may take to let the end of a channel be sent, or to
// confirm it, while nothing moves on its connection.
const CloseGrace = 2 * time.Second

// CloseSoon closes a channel without waiting for that.
func (c *Conn) CloseSoon(channel io.Closer) {
	c.SaySoon(func() { channel.Close() }) // of a client that is closed, it has ended
}

// Discard is CloseSoon for a channel that nobody has begun to use.
func (c *Conn) Discard(channel io.Closer, requests <-chan *ssh.Request) {
	c.CloseSoon(channel)
	take := func() { ssh.DiscardRequests(requests) }
	if !c.Go(take) {
		go take() // Close waits for the end of the connection, which waits for this
	}
}

// SaySoon calls f, which tells the host something that it need not answer, on a goroutine
// of the client. If it cannot be told, the connection is given up.
func (c *Conn) SaySoon(f func()) {
	c.Go(func() {
		defer c.patience().end()
		f()
	})
}

// patience gives up a connection on which nothing moves.
type patience struct {
	conn  *Conn
	timer *time.Timer

	mu      sync.Mutex // protects what follows
	over    bool
	carried int64 // by the connection, at the last look
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
	if now-p.carried >= Slowest*int64(CloseGrace/time.Second) {
		p.carried = now
		p.timer.Reset(CloseGrace) // what has to be said waits behind what moves
		return
	}
	p.conn.Go(func() { p.conn.Link().Close() })
}
