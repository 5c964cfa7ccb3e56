package simfleet

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// delayLimit is the number of bytes in flight in one direction; beyond it, a writer blocks. It
// allows 80 MB/s over a delay of 100 ms.
const delayLimit = 8 << 20

// delayLine carries bytes from one writer to one reader. It delivers each byte a fixed time after
// it was written.
type delayLine struct {
	delay  time.Duration
	broken chan struct{} // closed by abort

	mu sync.Mutex
	// mu protects
	changed sync.Cond // a field below has changed
	chunks  []chunk
	queued  int // bytes in chunks
	ended   bool
	aborted bool
	paused  bool
}

// chunk holds the bytes of one Write. An empty chunk is the end of file.
type chunk struct {
	due  time.Time
	data []byte
}

func newDelayLine(delay time.Duration) *delayLine {
	l := &delayLine{delay: delay, broken: make(chan struct{})}
	l.changed.L = &l.mu
	return l
}

func (l *delayLine) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.queued >= delayLimit && !l.ended {
		l.changed.Wait()
	}
	if l.ended {
		return 0, net.ErrClosed
	}
	l.queued += len(p)
	l.chunks = append(l.chunks, chunk{time.Now().Add(l.delay), bytes.Clone(p)})
	l.changed.Broadcast()
	return len(p), nil
}

// end gives the reader an end of file after everything written so far, with the same delay.
func (l *delayLine) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.chunks = append(l.chunks, chunk{due: time.Now().Add(l.delay)})
		l.changed.Broadcast()
	}
}

// abort ends reading and writing at once. Bytes in flight are lost.
func (l *delayLine) abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.aborted {
		l.ended, l.aborted = true, true
		close(l.broken)
		l.changed.Broadcast()
	}
}

// pause stops the delivery, or resumes it.
func (l *delayLine) pause(paused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = paused
	l.changed.Broadcast()
}

func (l *delayLine) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for (len(l.chunks) == 0 || l.paused) && !l.aborted {
			l.changed.Wait()
		}
		if l.aborted {
			return 0, net.ErrClosed
		}
		early := time.Until(l.chunks[0].due)
		if early <= 0 {
			return l.take(p)
		}
		l.mu.Unlock()
		timer := time.NewTimer(early)
		select {
		case <-timer.C:
		case <-l.broken:
			timer.Stop()
		}
		l.mu.Lock()
	}
}

// take moves the bytes that are due into p. The first chunk is due.
func (l *delayLine) take(p []byte) (n int, err error) {
	now := time.Now()
	for n < len(p) && len(l.chunks) > 0 && !l.chunks[0].due.After(now) {
		first := &l.chunks[0]
		if len(first.data) == 0 {
			if n == 0 {
				return 0, io.EOF
			}
			break
		}
		moved := copy(p[n:], first.data)
		n += moved
		first.data = first.data[moved:]
		if len(first.data) == 0 {
			*first = chunk{}
			l.chunks = l.chunks[1:]
		}
	}
	l.queued -= n
	l.changed.Broadcast()
	return n, nil
}

// delayConn is a connection that delays both directions.
type delayConn struct {
	net.Conn
	in, out *delayLine
	running sync.WaitGroup
}

// newDelayConn starts two goroutines, which end after Close or abort. wait waits for them.
func newDelayConn(raw *net.TCPConn, delay time.Duration) *delayConn {
	d := &delayConn{Conn: raw, in: newDelayLine(delay), out: newDelayLine(delay)}
	d.running.Go(func() {
		io.Copy(d.in, raw)
		d.in.end()
	})
	d.running.Go(func() {
		io.Copy(raw, d.out)
		d.out.abort()
		raw.Close()
	})
	return d
}

func (d *delayConn) Read(p []byte) (int, error)  { return d.in.Read(p) }
func (d *delayConn) Write(p []byte) (int, error) { return d.out.Write(p) }

// Close closes the connection after everything written has been delivered.
func (d *delayConn) Close() error {
	d.out.end()
	d.in.abort()
	return nil
}

func (d *delayConn) abort() {
	d.out.abort()
	d.in.abort()
	d.Conn.Close()
}

func (d *delayConn) wait() { d.running.Wait() }
