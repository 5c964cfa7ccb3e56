package conn

import (
	"cmp"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// A write to a host that does not read blocks while it holds locks of the SSH library, so that
// nothing else can be sent on the connection, and no context ends it. The wire does: a write
// that makes no progress for too long ends the connection, and with it every call that waits.

// A write may make no progress for ConnectTimeout, within these bounds: a line that is cut for a
// moment comes back, however quickly the user wants to connect.
const (
	leastStall = 10 * time.Second
	mostStall  = 30 * time.Second
)

// Stall returns how long a write may stand still if connecting may take so long.
func Stall(connectTimeout time.Duration) time.Duration {
	return min(max(connectTimeout, leastStall), mostStall)
}

// writeLooks is how many times a write is looked at before it has stood still for too
// long.
const writeLooks = 30

// Slowest is how many bytes a second a connection must carry to be one that works.
const Slowest = 1 << 10

// writeWatch watches the writes of a connection. Its timer runs on while there are writes, and
// stops when it finds none: setting and stopping it for each write would cost about as much as
// the write.
type writeWatch struct {
	limit time.Duration // how long a write may stand still; zero: mostStall

	mu      sync.Mutex  // protects what follows
	writing bool        // a write is under way
	count   int         // of those that have ended
	timer   *time.Timer // nil: nothing is written
	seen    int         // count, at the last look
	queued  int         // what the system has not sent yet, likewise
	still   int         // looks since anything has moved
}

func (w *writeWatch) end() {
	w.mu.Lock()
	w.writing = false
	w.count++
	w.mu.Unlock()
}

// stop is for connections that have ended.
func (w *writeWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// every is how often to look.
func (w *writeWatch) every() time.Duration {
	return cmp.Or(w.limit, mostStall) / writeLooks
}

// Write implements [net.Conn]. A write of which nothing has been taken for the limit
// closes the connection: timers work for connections without deadlines too, such as
// those through hops. One call is made at a time.
//
// A connection that has ended fails here when it has failed in Read: before that, writes
// lead nowhere. On an error of one, the SSH library may stop taking what it has read, and
// three of its goroutines would wait for ever for somebody who does.
func (w *Wire) Write(p []byte) (int, error) {
	if w.broken.Load() {
		return w.writeNowhere(p)
	}
	w.beginWrite()
	n, err := w.Conn.Write(p)
	w.watch.end()
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
func (w *Wire) writeNowhere(p []byte) (int, error) {
	if !w.failed.Load() {
		time.Sleep(time.Millisecond)
	}
	if w.failed.Load() {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// beginWrite notes that a write begins.
func (w *Wire) beginWrite() {
	watch := &w.watch
	watch.mu.Lock()
	defer watch.mu.Unlock()
	watch.writing = true
	if watch.timer == nil {
		watch.seen, watch.queued, watch.still = watch.count, -1, 0
		watch.timer = time.AfterFunc(watch.every(), w.look)
	}
}

// look is called now and then while there are writes.
func (w *Wire) look() {
	watch := &w.watch
	watch.mu.Lock()
	defer watch.mu.Unlock()
	if !watch.writing {
		watch.timer = nil
		return
	}
	queued := unsent(w.Conn)
	if watch.count == watch.seen && queued == watch.queued {
		watch.still++
	} else {
		watch.seen, watch.queued, watch.still = watch.count, queued, 0
	}
	if watch.still >= writeLooks {
		w.giveUp(fmt.Sprintf("the host has read nothing for %v", cmp.Or(watch.limit, mostStall)))
		return
	}
	watch.timer.Reset(watch.every())
}

// giveUp closes a connection that is of no use any more, and notes why.
func (w *Wire) giveUp(why string) {
	w.end(&Error{Text: why, Err: net.ErrClosed})
	w.Conn.Close()
}

// Close implements [net.Conn].
func (w *Wire) Close() error {
	w.end(nil)
	err := w.Conn.Close()
	w.watch.stop()
	return err
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
