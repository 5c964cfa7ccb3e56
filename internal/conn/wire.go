package conn

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The SSH library may read ahead of the streams of commands by totalAhead on all connections
// together, and on each by minAhead at least and by maxAhead at most. On its own it buffers
// up to 2 MiB for each stream when hosts write faster than we read: too much for hundreds of
// hosts.
const (
	totalAhead = 4 << 20
	minAhead   = 64 << 10
	maxAhead   = 512 << 10
)

// wirePause is how long fetch waits for streams that read nothing. After that, it takes the
// received bytes to be packet overhead, or data for another reader.
const wirePause = 20 * time.Millisecond

// packetOverhead is roughly what SSH adds to the data of a packet: lengths, padding, tag.
const packetOverhead = 48

// Wire is the transport under one SSH connection. It spares the SSH library its reads of one
// byte, bounds what the library buffers, and records what the library does not report.
type Wire struct {
	net.Conn
	ahead    []byte       // received, not read yet
	greeting *Greeting    // records what precedes the version line; nil: nothing does
	offer    *offerReader // of the greeting, until it is complete; only Read uses it
	watch    writeWatch

	readFailed atomic.Bool
	*flow
}

// flow is the part of a Wire that may outlive it: the output of a command may be kept for long,
// and must not keep the connection in memory.
type flow struct {
	conn     atomic.Pointer[net.Conn] // nil when it has failed
	in, out  atomic.Int64             // how many bytes were received and sent
	failed   chan struct{}            // closed when a read or write has failed, or the wire was closed here
	failOnce sync.Once
	why      error // why the connection was aborted, nil if it was not; read after failed is closed

	globalStreams *atomic.Int32 // the streams of all connections
	streams       atomic.Int32  // the streams of this connection; without any there is no bound
	exempt        atomic.Int32  // users that read at their own pace; while there is one, there is no bound either
	unread        atomic.Int64  // about how many received bytes no stream has read
	lowWater      atomic.Int64  // fetch waits until unread is no more than this; 0: it does not wait
	wake          chan struct{} // gets a token then; made by the first wait, before lowWater is set
}

// NewWire returns the wire over a connection. globalStreams counts the streams of all
// connections that share a bound. A write may make no progress for stall; zero means 30
// seconds. greeting, if not nil, records what the host sends before SSH begins.
func NewWire(conn net.Conn, globalStreams *atomic.Int32, stall time.Duration, greeting *Greeting) *Wire {
	w := &Wire{Conn: conn, greeting: greeting, watch: writeWatch{limit: stall}, flow: &flow{globalStreams: globalStreams, failed: make(chan struct{})}}
	if greeting != nil {
		w.offer = &greeting.offer
	}
	w.conn.Store(&conn)
	return w
}

// DropGreeting releases the Greeting of NewWire.
func (w *Wire) DropGreeting() { w.greeting = nil }

// Failed reports whether a read or write has failed, or the wire was closed here.
func (w *flow) Failed() bool {
	select {
	case <-w.failed:
		return true
	default:
		return false
	}
}

// bound returns how far the library may read ahead on this connection.
func (w *flow) bound() int64 {
	return max(minAhead, min(maxAhead, totalAhead/int64(max(w.globalStreams.Load(), 1))))
}

// Read implements [net.Conn]. The library reads the version line byte by byte; Read fetches
// more at once.
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
		if w.greeting != nil {
			if err := w.greeting.record(buf[:n]); err != nil {
				return 0, err
			}
		}
		p[0] = buf[0]
		w.ahead = buf[1:n]
		return 1, nil
	}
	n, err := w.fetch(p)
	if w.offer != nil && n > 0 && !w.offer.record(p[:n]) {
		w.offer = nil
	}
	return n, err
}

func (w *Wire) fetch(p []byte) (int, error) {
	if w.unread.Load() > minAhead && w.streams.Load() > 0 && w.exempt.Load() == 0 {
		w.wait()
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.in.Add(int64(n))
		w.unread.Add(int64(n))
	}
	if err != nil {
		w.fail(nil)
		w.readFailed.Store(true)
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

// stream returns a reader for one stream of a command, or of a connection to a host behind this
// one. The caller reads it to its end, or calls End.
func (w *flow) stream(r io.Reader) *Stream {
	w.streams.Add(1)
	w.globalStreams.Add(1)
	return &Stream{Reader: r, wire: w}
}

// A Stream is one stream of a channel. It tells the wire how much has been read from it.
type Stream struct {
	io.Reader
	wire  *flow
	ended atomic.Bool
}

// End declares that nothing more will be read. Reading to the end of the stream does so too.
func (s *Stream) End() {
	if !s.ended.Swap(true) {
		s.wire.streams.Add(-1)
		s.wire.globalStreams.Add(-1)
	}
}

// Read implements [io.Reader].
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	w := s.wire
	if err != nil {
		s.End()
	}
	unread := w.unread.Add(int64(-n - packetOverhead))
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
