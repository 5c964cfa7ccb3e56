package conn

import (
	"cmp"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// A write to a host that does not read blocks while it holds locks of the SSH library: nothing
// else can be sent on the connection, and no context ends the write. So the wire closes the
// connection when a write makes no progress for too long, which ends every waiting call.

// A write may make no progress for ConnectTimeout, within these bounds: a line that is cut for a
// moment comes back, however short the user's ConnectTimeout is.
const (
	minStall = 10 * time.Second
	maxStall = 30 * time.Second
)

// Stall returns how long a write may make no progress, given how long connecting may take.
func Stall(connectTimeout time.Duration) time.Duration {
	return min(max(connectTimeout, minStall), maxStall)
}

// writeChecks is how many times a write without progress is checked before the limit is reached.
const writeChecks = 30

// MinRate is how many bytes a second a connection must carry to count as working.
const MinRate = 1 << 10

// writeWatch watches the writes of a connection. Its timer keeps running while there are writes,
// and stops when it finds none: starting and stopping it for each write would cost about as much
// as the write.
type writeWatch struct {
	limit time.Duration // how long a write may make no progress; zero: maxStall

	mu      sync.Mutex  // protects what follows
	writing bool        // a write is under way
	count   int         // completed writes
	timer   *time.Timer // nil: nothing is written
	seen    int         // count, at the last check
	queued  int         // bytes that the system had not sent, at the last check
	still   int         // checks since anything moved
}

// finished records the end of a write.
func (w *writeWatch) finished() {
	w.mu.Lock()
	w.writing = false
	w.count++
	w.mu.Unlock()
}

// stop is called when the connection has ended.
func (w *writeWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// interval is the time between two checks.
func (w *writeWatch) interval() time.Duration {
	return cmp.Or(w.limit, maxStall) / writeChecks
}

// Write implements [net.Conn]. A write that makes no progress for the limit closes the
// connection. A timer does that, because connections through hops have no deadlines. Calls must
// not overlap.
//
// On a failed connection, Write returns an error only once Read has: until then it drops the
// data. On a write error, the SSH library may stop processing what it has read, and three of its
// goroutines would wait for that for ever.
func (w *Wire) Write(p []byte) (int, error) {
	if w.Failed() {
		return w.dropWrite(p)
	}
	w.startWrite()
	n, err := w.Conn.Write(p)
	w.watch.finished()
	w.out.Add(int64(n))
	if err == nil {
		return n, nil
	}
	if !w.Failed() {
		w.fail(nil)
		time.AfterFunc(readLinger, func() { w.Conn.Close() })
	}
	return w.dropWrite(p)
}

// readLinger is how long a host that reads nothing more may still send the reason.
const readLinger = 250 * time.Millisecond

// dropWrite is Write on a failed connection. It gives the library a moment to read the failure.
func (w *Wire) dropWrite(p []byte) (int, error) {
	if !w.readFailed.Load() {
		time.Sleep(time.Millisecond)
	}
	if w.readFailed.Load() {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// startWrite records the start of a write.
func (w *Wire) startWrite() {
	watch := &w.watch
	watch.mu.Lock()
	defer watch.mu.Unlock()
	watch.writing = true
	if watch.timer == nil {
		watch.seen, watch.queued, watch.still = watch.count, -1, 0
		watch.timer = time.AfterFunc(watch.interval(), w.check)
	}
}

// check is called once in every interval while there are writes.
func (w *Wire) check() {
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
	if watch.still >= writeChecks {
		w.abort(fmt.Sprintf("the host has read nothing for %v", cmp.Or(watch.limit, maxStall)))
		return
	}
	watch.timer.Reset(watch.interval())
}

// abort closes a connection on which nothing moves any more, for the given reason.
func (w *Wire) abort(why string) {
	w.fail(&Error{Text: why, Err: net.ErrClosed})
	w.Conn.Close()
}

// Close implements [net.Conn].
func (w *Wire) Close() error {
	w.fail(nil)
	err := w.Conn.Close()
	w.watch.stop()
	return err
}

// fail marks the connection as failed. why, if not nil, becomes the reason. Only the first call
// counts.
func (w *flow) fail(why error) {
	w.failOnce.Do(func() {
		w.why = why
		w.conn.Store(nil)
		close(w.failed)
	})
}

// reason returns why the connection was aborted; nil if it was not.
func (w *flow) reason() error {
	if w.Failed() {
		return w.why
	}
	return nil
}

// carried returns how many bytes were received, and how many of those sent the other side has
// taken.
func (w *flow) carried() int64 {
	n := w.in.Load() + w.out.Load()
	if conn := w.conn.Load(); conn != nil {
		n -= int64(unsent(*conn))
	}
	return n
}

// unsent returns how many bytes the system holds that the other side has not taken, or 0 if that
// is not known. Systems wake up a writer only when a good part of their buffer is free again: on
// a slow line that takes longer than a write may make no progress.
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
	if raw.Control(func(fd uintptr) { n = sendQueue(int(fd)) }) != nil {
		return 0 // it is closed
	}
	return n
}
