package fleetssh

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A write to a host that does not read blocks under the locks of the SSH library,
// together with everything else that has to be said on the connection, and no context
// ends it. This is the one place that does: a write that stands still for too long ends
// the connection, and with it every call that waits.

// How long a write may stand still: ConnectTimeout, within these. A line that is cut for
// a moment comes back; who wants to connect quickly does not mean that.
const (
	leastWriteStall = 10 * time.Second
	mostWriteStall  = 30 * time.Second
)

// writeStall returns how long a write to the host may stand still.
func (h *HostConfig) writeStall() time.Duration {
	return min(max(h.connectTimeout(), leastWriteStall), mostWriteStall)
}

// writeLooks is how many times a write is looked at before it has stood still for too
// long.
const writeLooks = 20

// slowest is how many bytes a second a connection must carry to be one that works.
const slowest = 1 << 10

// writeWatch looks after the write that is under way.
type writeWatch struct {
	limit time.Duration // how long it may stand still; set before the first write
	every time.Duration // how often to look
	timer *time.Timer   // nil before the first write; runs during each

	count atomic.Uint64 // of writes that have begun and ended: odd while one is under way

	mu     sync.Mutex // protects what follows; held by the timer's function alone
	seen   uint64     // count, at the last look
	queued int        // what the system has not sent yet, likewise
	still  int        // looks since anything has moved
}

// Write implements [net.Conn]. A write of which nothing has been taken for the limit
// closes the connection: timers work for connections without deadlines too, such as
// those through hops. One call is made at a time.
//
// A connection that has ended fails here when it has failed in Read: before that, writes
// lead nowhere. On an error of one, the SSH library may stop taking what it has read, and
// three of its goroutines would wait for ever for somebody who does.
func (w *wire) Write(p []byte) (int, error) {
	if w.broken.Load() {
		return w.writeNowhere(p)
	}
	watch := &w.watch
	if watch.timer == nil {
		if watch.limit == 0 {
			watch.limit = mostWriteStall
		}
		watch.every = watch.limit / writeLooks
		watch.timer = time.AfterFunc(time.Hour, w.look)
	}
	watch.count.Add(1)
	watch.timer.Reset(watch.every)
	n, err := w.Conn.Write(p)
	watch.count.Add(1)
	watch.timer.Stop()
	w.out.Add(int64(n))
	if err == nil {
		return n, nil
	}
	if !w.broken.Load() {
		w.end(nil)
		time.AfterFunc(lastWords, func() { w.Conn.Close() })
	}
	return w.writeNowhere(p)
}

// lastWords is for how long a host that takes nothing more may still say why.
const lastWords = 250 * time.Millisecond

// writeNowhere is Write when the connection has ended. It gives the library a moment to
// come to that by reading.
func (w *wire) writeNowhere(p []byte) (int, error) {
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	select {
	case <-w.failed:
		return 0, net.ErrClosed
	case <-timer.C:
		return len(p), nil
	}
}

// look is called now and then while a write is under way.
func (w *wire) look() {
	watch := &w.watch
	watch.mu.Lock()
	defer watch.mu.Unlock()
	count := watch.count.Load()
	if count%2 == 0 {
		return // it has just ended
	}
	queued := unsent(w.Conn)
	if count == watch.seen && queued == watch.queued {
		watch.still++
	} else {
		watch.seen, watch.queued, watch.still = count, queued, 0
	}
	if watch.still >= writeLooks {
		w.giveUp(fmt.Sprintf("the host has read nothing for %v", watch.limit))
		return
	}
	watch.timer.Reset(watch.every)
}

// giveUp closes a connection that is of no use any more, and notes why.
func (w *wire) giveUp(why string) {
	w.end(&sshError{text: why, err: net.ErrClosed})
	w.Conn.Close()
}

// Close implements [net.Conn].
func (w *wire) Close() error {
	w.end(nil)
	return w.Conn.Close()
}

// end notes that the connection has ended, and why if that is to be told. The first call
// counts.
func (w *flow) end(why error) {
	w.endOnce.Do(func() {
		w.why = why
		w.conn.Store(nil)
		w.broken.Store(true)
		close(w.ended)
	})
}

// reason returns why the connection was given up; nil if it was not.
func (w *flow) reason() error {
	select {
	case <-w.ended:
		return w.why
	default:
		return nil
	}
}

// carried returns how many bytes have come, and have been taken by the other side.
func (w *flow) carried() int64 {
	n := w.in.Load() + w.out.Load()
	if conn := w.conn.Load(); conn != nil {
		n -= int64(unsent(*conn))
	}
	return n
}

// unsent returns how many bytes the system holds that the other side has not taken, or 0
// if that is not known. Systems wake up a writer when a good part of their buffer is free
// again: on a slow line that takes longer than a write may stand still.
func unsent(conn net.Conn) int {
	for {
		inner, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = inner.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	if raw.Control(func(fd uintptr) { n = socketQueue(int(fd)) }) != nil {
		return 0 // it is closed
	}
	return n
}
