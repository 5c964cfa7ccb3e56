package conn

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// How far the SSH library may read ahead of the streams of the commands, on all
// connections together, and on each at least and at most. By itself it holds up to
// 2 MiB a stream when hosts write faster than all of it can be taken in: too much
// for hundreds of hosts.
const (
	aheadTotal = 4 << 20
	aheadLeast = 64 << 10
	aheadMost  = 512 << 10
)

// wirePause is how long to wait for streams that take nothing: then what has been
// read is nothing for them, but the wrapping of packets, or for others.
const wirePause = 20 * time.Millisecond

// wrapping is about what SSH adds to the data of a packet: lengths, padding, tag.
const wrapping = 48

// Wire is the transport of one SSH connection. It saves the SSH library its
// reads of one byte, bounds what it holds, and remembers what it does not tell.
type Wire struct {
	net.Conn
	ahead []byte    // read, not asked for yet
	hello *Greeting // takes what comes before the version line and with it; nil: nothing
	watch writeWatch

	failed atomic.Bool // a read has failed
	*flow
}

// flow is what there is to know of a wire, also when that is gone: what a command has
// written may be kept for long, and must not keep the connection.
type flow struct {
	conn    atomic.Pointer[net.Conn] // nil when it has ended
	in, out atomic.Int64             // how many bytes have come and gone
	broken  atomic.Bool              // a read or write has failed, or it was closed here
	ended   chan struct{}            // closed at the same time
	endOnce sync.Once
	why     error // why it was given up, nil if it was not; to be read after ended

	all     *atomic.Int32 // streams of all connections that are being taken in
	streams atomic.Int32  // those of this one; without any, there is no bound
	others  atomic.Int32  // who takes from the library at a pace of their own: with any, no bound either
	behind  atomic.Int64  // bytes read that no stream has taken yet, about
	until   atomic.Int64  // what behind has to come down to for fetch to go on; 0: it does not wait
	room    chan struct{} // gets a token when it has; made by the first wait, before until is set
}

// NewWire returns the wire over a connection. all counts the streams of all connections
// that share a bound. A write may stand still for as long as stall; zero means 30 seconds.
// hello, if not nil, takes what the host says before SSH begins.
func NewWire(conn net.Conn, all *atomic.Int32, stall time.Duration, hello *Greeting) *Wire {
	w := &Wire{Conn: conn, hello: hello, watch: writeWatch{limit: stall}, flow: &flow{all: all, ended: make(chan struct{})}}
	w.conn.Store(&conn)
	return w
}

// Greeted lets go of what NewWire was given to take what the host says before SSH begins.
func (w *Wire) Greeted() { w.hello = nil }

// Broken reports whether a read or write has failed, or the wire was closed here.
func (w *flow) Broken() bool { return w.broken.Load() }

// bound returns how far the library may read ahead on this connection.
func (w *flow) bound() int64 {
	return max(aheadLeast, min(aheadMost, aheadTotal/int64(max(w.all.Load(), 1))))
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
	if w.behind.Load() > aheadLeast && w.streams.Load() > 0 && w.others.Load() == 0 {
		w.wait()
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.in.Add(int64(n))
		w.behind.Add(int64(n))
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

// wait lets the streams come after, until they have taken three quarters of the
// bound: waking up for every packet would cost more than the packet.
func (w *flow) wait() {
	bound := w.bound()
	if w.behind.Load() <= bound {
		return
	}
	if w.room == nil {
		w.room = make(chan struct{}, 1)
	}
	low := bound / 4
	w.until.Store(low)
	defer w.until.Store(0)
	ticker := time.NewTicker(wirePause)
	defer ticker.Stop()
	for behind := w.behind.Load(); behind > low; {
		select {
		case <-w.room:
		case <-ticker.C:
			if now := w.behind.Load(); now == behind {
				w.behind.Store(0)
			}
		}
		behind = w.behind.Load()
	}
}

// stream returns a reader for one stream of a command, or of a connection to a host
// behind this one, which is to be read to its end. It says what it has taken.
func (w *flow) stream(r io.Reader) *Stream {
	w.streams.Add(1)
	w.all.Add(1)
	return &Stream{Reader: r, wire: w}
}

// A Stream says what it has taken from its connection.
type Stream struct {
	io.Reader
	wire  *flow
	ended atomic.Bool
}

// End says that nothing more will be taken. The end of the stream says it too.
func (s *Stream) End() {
	if !s.ended.Swap(true) {
		s.wire.streams.Add(-1)
		s.wire.all.Add(-1)
	}
}

// Read implements [io.Reader].
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	w := s.wire
	if err != nil {
		s.End()
	}
	behind := w.behind.Add(int64(-n - wrapping))
	if behind < 0 {
		w.behind.Store(0)
	}
	if low := w.until.Load(); low > 0 && behind <= low {
		select {
		case w.room <- struct{}{}:
		default:
		}
	}
	return n, err
}
