package transfer

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
)

// failingWriter is a writer that fails after some bytes.
type failingWriter struct {
	mu     sync.Mutex
	got    bytes.Buffer
	most   int // 0: never fails
	closed bool
}

func (r *failingWriter) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, io.ErrClosedPipe
	}
	if r.most > 0 && r.got.Len()+len(p) > r.most {
		return 0, errFull
	}
	return r.got.Write(p)
}

func (r *failingWriter) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

var errFull = errors.New("full")

// TestBatch: the writes of many goroutines arrive complete, each goroutine's in order, and an error
// reaches all of them.
func TestBatch(t *testing.T) {
	t.Parallel()
	const writers, packets = 20, 200
	r := &failingWriter{}
	b := newBatch(r)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for k := range packets {
				size := 10
				if k%50 == 0 {
					size = smallWrite + 10
				}
				packet := bytes.Repeat([]byte{byte(i)}, size)
				packet[0], packet[1] = 255, byte(k)
				if n, err := b.Write(packet); n != size || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	// A large write goes out after everything that was collected.
	b.Write(bytes.Repeat([]byte{254}, smallWrite+1))
	if err := b.Close(); err != nil || b.Close() != nil {
		t.Error(err)
	}
	if _, err := b.Write([]byte("late")); err != io.ErrClosedPipe {
		t.Errorf("%v", err)
	}
	next := make([]int, writers)
	got := r.got.Bytes()
	for len(got) > 0 && got[0] == 255 {
		k, i := int(got[1]), got[2]
		size := 10
		if k%50 == 0 {
			size = smallWrite + 10
		}
		if int(i) >= writers || next[i] != k || !bytes.Equal(got[2:size], bytes.Repeat([]byte{i}, size-2)) {
			t.Fatalf("packet %d of %d is torn or out of order", k, i)
		}
		next[i]++
		got = got[size:]
	}
	for i, n := range next {
		if n != packets {
			t.Errorf("writer %d: %d packets", i, n)
		}
	}

	b = newBatch(&failingWriter{most: 100_000})
	for range writers {
		wg.Go(func() {
			var err error
			for err == nil {
				_, err = b.Write(make([]byte, 1000))
			}
			if err != errFull {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	b.Close()
}
