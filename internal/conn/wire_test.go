package conn

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeConn is a connection that reads from its Reader, and counts the reads.
type fakeConn struct {
	net.Conn
	io.Reader
	reads int
}

func (c *fakeConn) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

func TestWireReadsAhead(t *testing.T) {
	t.Parallel()
	const text = "SSH-2.0-test\r\nand more"
	conn := &fakeConn{Reader: bytes.NewReader([]byte(text))}
	w := NewWire(conn, new(atomic.Int32), 0, nil)
	var got []byte
	for range 14 { // the SSH library reads the version line in this way
		var b [1]byte
		if n, err := w.Read(b[:]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		got = append(got, b[0])
	}
	if conn.reads != 1 {
		t.Errorf("%d reads for the version line", conn.reads)
	}
	rest, err := io.ReadAll(w)
	if err != nil || string(got)+string(rest) != text {
		t.Errorf("%q, %q, %v", got, rest, err)
	}
	if !w.Failed() {
		t.Error("the end of the connection went unnoticed")
	}
}

// TestWireBound has a host send without end: the library reads ahead of the stream by the bound
// and no more, unless the stream has nothing to read.
func TestWireBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all atomic.Int32
		all.Store(1000) // so many streams that each connection gets the minimum
		w := NewWire(&fakeConn{Reader: endless{}}, &all, 0, nil)
		data := make(chan struct{}) // a token for each read of the stream
		stream := w.stream(readerFunc(func(p []byte) (int, error) {
			if _, ok := <-data; !ok {
				return 0, io.EOF
			}
			return len(p), nil
		}))
		var fetched atomic.Int64
		stop := make(chan struct{})
		go func() {
			buf := make([]byte, 8<<10)
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, _ := w.Read(buf)
				fetched.Add(int64(n))
			}
		}()
		taken := make(chan struct{})
		go func() {
			defer close(taken)
			buf := make([]byte, 16<<10)
			for {
				if _, err := stream.Read(buf); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if n := fetched.Load(); n < minAhead || n > minAhead+16<<10 {
			t.Errorf("%d bytes ahead, the bound is %d", n, minAhead)
		}
		ahead := fetched.Load()
		data <- struct{}{} // a little room is not worth waking up for
		synctest.Wait()
		if n := fetched.Load(); n != ahead {
			t.Errorf("%d bytes more after 16 KiB were taken", n-ahead)
		}
		for range ahead/(16<<10) - 1 {
			data <- struct{}{}
		}
		synctest.Wait()
		if n := fetched.Load(); n < ahead+minAhead/2 {
			t.Errorf("%d bytes more after nearly all were taken", n-ahead)
		}
		before := fetched.Load()
		time.Sleep(2 * wirePause) // nothing is taken: the received bytes count as data for others
		synctest.Wait()
		if fetched.Load() == before {
			t.Error("a stream that has nothing to take holds up the connection")
		}
		close(stop)
		close(data) // the stream ends, and the bound with it
		<-taken
		time.Sleep(3 * wirePause)
		if w.streams.Load() != 0 || all.Load() != 1000 {
			t.Errorf("%d streams, %d in all", w.streams.Load(), all.Load())
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestWireUnbound has a user that reads at its own pace, as tunnels do: a stream that reads
// nothing does not block it.
func TestWireUnbound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := NewWire(&fakeConn{Reader: endless{}}, new(atomic.Int32), 0, nil)
		stream := w.stream(endless{})
		w.exempt.Add(1)
		begun := time.Now()
		buf := make([]byte, 64<<10)
		for range 100 {
			w.Read(buf)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("100 reads took %v", took)
		}
		w.exempt.Add(-1)
		w.Read(buf)
		if took := time.Since(begun); took == 0 {
			t.Error("the bound does not come back")
		}
		stream.End()
	})
}
