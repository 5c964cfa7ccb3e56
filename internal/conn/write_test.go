package conn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWireWriteStalls has a host read nothing: the write and the connection end after the limit.
func TestWireWriteStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		w := NewWire(near, new(atomic.Int32), 0, nil)
		w.watch.limit = 10 * time.Second
		for range 3 { // writes that the host reads
			go io.ReadFull(far, make([]byte, 4))
			if n, err := w.Write([]byte("what")); n != 4 || err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(time.Minute)
		}
		begun := time.Now()
		read := make(chan error, 1)
		go func() {
			_, err := w.Read(make([]byte, 1))
			read <- err
		}()
		w.Write([]byte("what nobody reads"))
		err := <-read
		if took := time.Since(begun); took < w.watch.limit || took > w.watch.limit*11/10 {
			t.Errorf("it took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "the host has read nothing for 10s") || !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v", err)
		}
		if !w.Failed() || w.reason() == nil {
			t.Error("the connection has not ended")
		}
		if _, err := w.Write([]byte("more")); err == nil {
			t.Error("a write after a read has failed")
		}
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the other side: %v", err)
		}
	})
}

// TestWireWriteSlow has a host read slowly for minutes: each packet takes almost the limit.
func TestWireWriteSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := NewWire(near, new(atomic.Int32), 0, nil)
		w.watch.limit = 10 * time.Second
		sent := bytes.Repeat([]byte("0123456789abcdef"), 2<<10)
		var got bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			for buf := make([]byte, len(sent)); ; {
				time.Sleep(9 * time.Second)
				n, err := far.Read(buf)
				got.Write(buf[:n])
				if err != nil {
					return
				}
			}
		}()
		for range 20 {
			if _, err := w.Write(sent); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		<-done
		if want := bytes.Repeat(sent, 20); !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes came, want %d", got.Len(), len(want))
		}
	})
}

// TestWireWriteQueue has a host read so slowly that the system does not wake up the writer in
// time: the bytes that leave the socket's queue count as progress.
func TestWireWriteQueue(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	w := NewWire(near, new(atomic.Int32), 0, nil)
	defer w.Close()
	w.watch.limit = 3 * time.Second
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for packet := make([]byte, 32<<10); !w.Failed(); {
			w.Write(packet)
		}
	}()
	// Both buffers are megabytes; a twentieth of that each time wakes up nobody for long.
	buf := make([]byte, 128<<10)
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); {
		if _, err := io.ReadFull(far, buf); err != nil {
			t.Fatalf("the connection was cut: %v", w.reason())
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ended:
			t.Fatalf("the connection was cut: %v", w.reason())
		}
	}
	select { // it reads no more
	case <-ended:
		if err := w.reason(); err == nil || !strings.Contains(err.Error(), "has read nothing") {
			t.Errorf("error %v", err)
		}
	case <-time.After(patienceOfTest):
		t.Error("the write has not ended")
	}
}

const patienceOfTest = time.Minute

func BenchmarkWireWrite(b *testing.B) {
	for _, test := range []struct {
		name string
		conn func(net.Conn) net.Conn
	}{
		{"plain", func(c net.Conn) net.Conn { return c }},
		{"wire", func(c net.Conn) net.Conn { return NewWire(c, new(atomic.Int32), 0, nil) }},
	} {
		b.Run(test.name, func(b *testing.B) {
			conn := test.conn(nowhere{})
			packet := make([]byte, 1<<10)
			for b.Loop() {
				conn.Write(packet)
			}
		})
	}
}

// nowhere is a connection that accepts every write.
type nowhere struct{ net.Conn }

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
