package conn

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The SSH library may read ahead of the streams of commands by aheadTotal on all connections
// together, and on each by aheadLeast at least and by aheadMost at most. On its own it buffers
// up to 2 MiB for each stream when hosts write faster than we read: too much for hundreds of
// hosts.
const (
	aheadTotal = 4 << 20
	aheadLeast = 64 << 10
	aheadMost  = 512 << 10
)

// wirePause is how long fetch waits for streams that read nothing. After that, the bytes that
// have come are taken to be the overhead of packets, or data for somebody else.
const wirePause = 20 * time.Millisecond

// wrapping is about what SSH adds to the data of a packet: lengths, padding, tag.
const wrapping = 48

// Wire is the transport under one SSH connection. It spares the SSH library its reads of one
// byte, bounds what the library buffers, and records what the library does not report.
type Wire struct {
	net.Conn
	ahead []byte    // read, not asked for yet
	hello *Greeting // takes what comes before the version line and with it; nil: nothing
	watch writeWatch

	failed atomic.Bool // a read has failed
	*flow
}

// flow is the part of a Wire that may outlive it: the output of a command may be kept for long,
// and must not keep the connection alive.
type flow struct {
	conn    atomic.Pointer[net.Conn] // nil when it has ended
	in, out atomic.Int64             // how many bytes have come and gone
	broken  atomic.Bool              // a read or write has failed, or it was closed here
	ended   chan struct{}            // closed at the same time
	endOnce sync.Once
	why     error // why it was given up, nil if it was not; read after ended is closed

	allStreams *atomic.Int32 // the streams of all connections
	streams    atomic.Int32  // the streams of this one; if there are none, there is no bound
	exempt     atomic.Int32  // users who read at their own pace; if there are any, there is no bound either
	unread     atomic.Int64  // about how many bytes have come that no stream has read
	lowWater   atomic.Int64  // fetch waits until unread is no more than this; 0: it does not wait
	wake       chan struct{} // gets a token then; made by the first wait, before lowWater is set
}

// NewWire returns the wire over a connection. all counts the streams of all connections
// that share a bound. A write may stand still for as long as stall; zero means 30 seconds.
// hello, if not nil, takes what the host says before SSH begins.
func NewWire(conn net.Conn, all *atomic.Int32, stall time.Duration, hello *Greeting) *Wire {
	w := &Wire{Conn: conn, hello: hello, watch: writeWatch{limit: stall}, flow: &flow{allStreams: all, ended: make(chan struct{})}}
	w.conn.Store(&conn)
	return w
}

// Greeted lets go of what NewWire was given to take what the host says before SSH begins.
func (w *Wire) Greeted() { w.hello = nil }

// Broken reports whether a read or write has failed, or the wire was closed here.
func (w *flow) Broken() bool { return w.broken.Load() }

// bound returns how far the library may read ahead on this connection.
func (w *flow) bound() int64 {
	return max(aheadLeast, min(aheadMost, aheadTotal/int64(max(w.allStreams.Load(), 1))))
}

// Read implements [net.Conn]. The library reads the version line byte by byte;
// whatever comes with it is fetched at once.
func (w *Wire) Read(p []byte) (int, error) {
	if len(w.ahead) > 0 {
		n := copy(p, w.ahead)
		if w.ahead = w.ahead[n:]; len(w.ahead) == 0 {
			w.ahead = nil
		}
		return n, nil
	}
	if len(p) == 1 {
		buf := make([]byte, 1<<10)
		n, err := w.fetch(buf)
		if n == 0 {
			return 0, err
		}
		if w.hello != nil {
			if err := w.hello.take(buf[:n]); err != nil {
				return 0, err
			}
		}
		p[0] = buf[0]
		w.ahead = buf[1:n]
		return 1, nil
	}
	return w.fetch(p)
}

func (w *Wire) fetch(p []byte) (int, error) {
	if w.unread.Load() > aheadLeast && w.streams.Load() > 0 && w.exempt.Load() == 0 {
		w.wait()
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.in.Add(int64(n))
		w.unread.Add(int64(n))
	}
	if err != nil {
		w.end(nil)
		w.failed.Store(true)
		if why := w.reason(); why != nil {
			err = why
		}
	}
	return n, err
}

// wait blocks until the streams have read the backlog down to a quarter of the bound: waking
// up for every packet would cost more than the packet.
func (w *flow) wait() {
	bound := w.bound()
	if w.unread.Load() <= bound {
		return
	}
	if w.wake == nil {
		w.wake = make(chan struct{}, 1)
	}
	low := bound / 4
	w.lowWater.Store(low)
	defer w.lowWater.Store(0)
	ticker := time.NewTicker(wirePause)
	defer ticker.Stop()
	for unread := w.unread.Load(); unread > low; {
		select {
		case <-w.wake:
		case <-ticker.C:
			if now := w.unread.Load(); now == unread {
				w.unread.Store(0)
			}
		}
		unread = w.unread.Load()
	}
}

// stream returns a reader for one stream of a command, or of a connection to a host behind
// this one. It must be read to its end, or ended.
func (w *flow) stream(r io.Reader) *Stream {
	w.streams.Add(1)
	w.allStreams.Add(1)
	return &Stream{Reader: r, wire: w}
}

// A Stream is one stream of a channel. It tells the wire how much has been read from it.
type Stream struct {
	io.Reader
	wire  *flow
	ended atomic.Bool
}

// End says that nothing more will be read. Reading to the end of the stream says it, too.
func (s *Stream) End() {
	if !s.ended.Swap(true) {
		s.wire.streams.Add(-1)
		s.wire.allStreams.Add(-1)
	}
}

// Read implements [io.Reader].
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	w := s.wire
	if err != nil {
		s.End()
	}
	unread := w.unread.Add(int64(-n - wrapping))
	if unread < 0 {
		w.unread.Store(0)
	}
	if low := w.lowWater.Load(); low > 0 && unread <= low {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return n, err
}
