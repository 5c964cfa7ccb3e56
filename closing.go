package fleetssh

import (
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Closing a channel, ending its input, answering a request: each is a write, and may take
// as long as the host does not read. What has to end leaves them to goroutines of the
// client, with a patience that ends the connection when it comes to that.

// closeGrace is how long a host may take to let the end of a channel be sent, or to
// confirm it, while nothing moves on its connection.
const closeGrace = 2 * time.Second

// closeSoon closes a channel without waiting for that.
func (c *Client) closeSoon(channel io.Closer) {
	c.saySoon(func() { channel.Close() }) // of a client that is closed, it has ended
}

// discard is closeSoon for a channel that nobody has begun to use.
func (c *Client) discard(channel io.Closer, requests <-chan *ssh.Request) {
	c.closeSoon(channel)
	take := func() { ssh.DiscardRequests(requests) }
	if !c.spawn(take) {
		go take() // Close waits for the end of the connection, which waits for this
	}
}

// saySoon calls f, which tells the host something that it need not answer, on a goroutine
// of the client. If it cannot be told, the connection is given up.
func (c *Client) saySoon(f func()) {
	c.spawn(func() {
		defer c.patience().end()
		f()
	})
}

// patience gives up a connection on which nothing moves.
type patience struct {
	client *Client
	timer  *time.Timer

	mu      sync.Mutex // protects what follows
	over    bool
	carried int64 // by the connection, at the last look
}

// patience returns one that lasts until its end is called.
func (c *Client) patience() *patience {
	p := &patience{client: c, carried: c.wire.carried()}
	p.timer = time.AfterFunc(time.Hour, p.look)
	p.timer.Reset(closeGrace)
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
	now := p.client.wire.carried()
	if now-p.carried >= slowest*int64(closeGrace/time.Second) {
		p.carried = now
		p.timer.Reset(closeGrace) // what has to be said waits behind what moves
		return
	}
	p.client.spawn(func() { p.client.link().Close() })
}
