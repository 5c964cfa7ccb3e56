package conn

import (
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Closing a channel, ending its input and answering a request are writes, and a host that does
// not read blocks them. Callers that must not wait leave these writes to goroutines of the
// connection, which close the connection when nothing moves on it any more.

// CloseGrace is how long the end of what was broken off may take to be sent and confirmed while
// nothing moves on the connection.
const CloseGrace = 2 * time.Second

// CloseSoon closes a channel without waiting for it.
func (c *Conn) CloseSoon(channel io.Closer) {
	c.SendSoon(func() { channel.Close() }) // if c is closed, the channel has ended
}

// Discard is CloseSoon for a channel that has not been used.
func (c *Conn) Discard(channel io.Closer, requests <-chan *ssh.Request) {
	c.CloseSoon(channel)
	drain := func() { ssh.DiscardRequests(requests) }
	if !c.Go(drain) {
		go drain() // Close waits for the end of the connection, which waits for this
	}
}

// SendSoon calls f, which sends something that needs no answer, in a goroutine of the
// connection. If f cannot send it, the connection is closed. Nobody waits for that: a machine
// that is busy with thousands of hosts has ten seconds to run f.
func (c *Conn) SendSoon(f func()) { c.sendSoon(minStall, f) }

// EndSoon is SendSoon for ending what was broken off, with an f that waits until the host has
// confirmed the end. Somebody may wait for that: f has CloseGrace, if nobody else uses the
// connection.
func (c *Conn) EndSoon(f func()) { c.sendSoon(CloseGrace, f) }

func (c *Conn) sendSoon(grace time.Duration, f func()) {
	c.Go(func() {
		defer c.watchSend(grace).stop()
		f()
	})
}

// maxSendWait is how long a message or its confirmation may wait behind other traffic. A slow
// line needs part of it: an interrupted copy has up to 2 MiB on the way. A host that sends
// without end and confirms nothing causes traffic too, and must not delay the end for longer.
const maxSendWait = 10 * CloseGrace

// sendWatch closes a connection while something waits to be sent on it: when nothing moves, or
// when other traffic outlasts maxSendWait.
type sendWatch struct {
	conn  *Conn
	timer *time.Timer
	grace time.Duration // while nothing moves, if nobody else uses the connection

	mu      sync.Mutex // protects what follows
	stopped bool
	waited  time.Duration // until the last check
	still   time.Duration // how long nothing had moved, at the last check
	carried int64         // by the connection, until the last check
}

// watchSend starts a watch, which lasts until it is stopped.
func (c *Conn) watchSend(grace time.Duration) *sendWatch {
	w := &sendWatch{conn: c, grace: grace, carried: c.wire.carried()}
	w.timer = time.AfterFunc(time.Hour, w.check)
	w.timer.Reset(CloseGrace)
	return w
}

func (w *sendWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

func (w *sendWatch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	now := w.conn.wire.carried()
	moved := now - w.carried
	w.carried = now
	w.waited += CloseGrace
	w.still += CloseGrace
	if moved >= MinRate*int64(CloseGrace/time.Second) {
		w.still = 0 // the message waits behind the traffic that moves
	}
	grace := w.grace
	if w.conn.users.shared() {
		grace = minStall // others would lose their connection to a host that is only busy
	}
	if w.still < grace && w.waited < maxSendWait {
		w.timer.Reset(CloseGrace)
		return
	}
	w.conn.Go(func() { w.conn.Link().Close() })
}
