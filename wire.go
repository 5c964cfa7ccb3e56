package fleetssh

import (
	"net"
	"sync/atomic"
)

// wire is the transport of one SSH connection. It saves the SSH library its
// reads of one byte, and remembers what the library does not tell.
type wire struct {
	net.Conn
	ahead  []byte        // read, not asked for yet
	reads  atomic.Uint32 // how many reads brought something: a sign of life
	broken atomic.Bool   // a read or write has failed
}

// Read implements [net.Conn]. The library reads the version line byte by byte;
// whatever comes with it is fetched at once.
func (w *wire) Read(p []byte) (int, error) {
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
		p[0] = buf[0]
		w.ahead = buf[1:n]
		return 1, nil
	}
	return w.fetch(p)
}

func (w *wire) fetch(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.reads.Add(1)
	}
	if err != nil {
		w.broken.Store(true)
	}
	return n, err
}

// Write implements [net.Conn].
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.broken.Store(true)
	}
	return n, err
}
