package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// readAll reads everything from a stream that has been closed for writing.
func readAll(t testing.TB, s *Stream, take int) []byte {
	t.Helper()
	var out []byte
	for {
		if err := s.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		data, err := s.Peek()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		n := min(take, len(data))
		out = append(out, data[:n]...)
		s.Discard(n)
	}
}

func pattern(n int) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func TestStreamKeepsEverything(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{0, 1000, 100_000, 1 << 30} {
		for _, size := range []int{0, 1, 63, 512, 513, 33_000, 700_000} {
			for _, piece := range []int{1, 100, 512, 40_000} {
				if piece == 1 && size > 40_000 {
					continue
				}
				t.Run(fmt.Sprintf("memory %d size %d piece %d", limit, size, piece), func(t *testing.T) {
					b := NewBudget(limit)
					s := NewStream(b, 0)
					want := pattern(size)
					for rest := want; len(rest) > 0; {
						n := min(piece, len(rest))
						s.Write(rest[:n])
						rest = rest[n:]
					}
					s.CloseWrite(nil)
					if n := used(b); n > limit {
						t.Errorf("%d bytes in memory, the budget is %d", n, limit)
					}
					if got := readAll(t, s, 1000); !bytes.Equal(got, want) {
						t.Errorf("%d bytes came out differently", size)
					}
					if used(b) != 0 || spilled(b) != 0 {
						t.Errorf("after reading, %d bytes of memory and %d of the file are in use", used(b), spilled(b))
					}
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// TestManyStreams lets many streams share a small budget, each with a reader that
// begins late, and accounts for every byte.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	const streams, size, limit = 50, 300_000, 256 << 10
	b := NewBudget(limit)
	var wg sync.WaitGroup
	for i := range streams {
		s := NewStream(b, 0)
		sums := make(chan hash.Hash, 2)
		started := make(chan struct{})
		wg.Go(func() {
			sum := sha256.New()
			// HalfReader makes the pieces of odd size.
			src := io.TeeReader(iotest.HalfReader(bytes.NewReader(pattern(size+i))), sum)
			s.ReadFrom(src)
			s.CloseWrite(nil)
			close(started)
			sums <- sum
		})
		wg.Go(func() {
			if i%2 == 0 {
				<-started // by now, everything is in the spool
			}
			sum := sha256.New()
			for {
				if err := s.Wait(t.Context(), 0); err != nil {
					t.Error(err)
					return
				}
				data, err := s.Peek()
				if err != nil {
					break
				}
				sum.Write(data)
				s.Discard(len(data))
			}
			sums <- sum
		})
		wg.Go(func() {
			x, y := <-sums, <-sums
			if !bytes.Equal(x.Sum(nil), y.Sum(nil)) {
				t.Errorf("stream %d came out differently", i)
			}
		})
	}
	wg.Wait()
	if used(b) != 0 || spilled(b) != 0 {
		t.Errorf("at the end %d bytes of memory and %d of the file are in use", used(b), spilled(b))
	}
	b.Close()
}

func TestFileOutlivesCloseWhileUnread(t *testing.T) {
	t.Parallel()
	b := NewBudget(0)
	s := NewStream(b, 0)
	want := pattern(100_000)
	s.Write(want)
	s.CloseWrite(nil)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, s, 1<<20); !bytes.Equal(got, want) {
		t.Error("output is lost after Close")
	}
	if b.file != nil {
		t.Error("the file is still open although all is read")
	}
}

// Chunks are freed after they have been read, also when the queue moves its unread elements forward.
func TestDiscardLetsGo(t *testing.T) {
	t.Parallel()
	s := NewStream(NewBudget(1<<30), 0)
	const chunks = 1000
	for range chunks {
		s.Write(pattern(chunkSize))
	}
	for read := range chunks {
		data, err := s.Peek()
		if err != nil {
			t.Fatal(err)
		}
		s.Discard(len(data))
		held := make(map[*byte]bool)
		for _, seg := range s.queue[:cap(s.queue)] {
			if len(seg.full) > 0 {
				held[&seg.full[0]] = true
			}
			if len(seg.data) > 0 {
				held[&seg.data[0]] = true
			}
		}
		if unread := len(s.queue) - s.next; len(held) > unread {
			t.Fatalf("after %d chunks, %d are held and %d unread", read+1, len(held), unread)
		}
		if read%100 == 0 { // more arrives while the reader works
			s.Write(pattern(chunkSize))
		}
	}
}

func TestDropFreesTheFile(t *testing.T) {
	t.Parallel()
	b := NewBudget(1000)
	s := NewStream(b, 0)
	s.Write(pattern(200_000))
	s.Drop()
	if used(b) != 0 || spilled(b) != 0 {
		t.Errorf("after Drop, %d bytes of memory and %d of the file are in use", used(b), spilled(b))
	}
	s.Write([]byte("more"))
	if data, _ := s.Peek(); len(data) != 0 {
		t.Errorf("%q came after Drop", data)
	}
	b.Close()
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for _, fromReader := range []bool{false, true} {
		s := NewStream(NewBudget(1<<20), 70_000)
		want := pattern(200_000)
		if fromReader {
			if n, err := s.ReadFrom(bytes.NewReader(want)); err != nil || n != 200_000 {
				t.Fatalf("ReadFrom: %d, %v", n, err)
			}
		} else {
			s.Write(want)
		}
		s.CloseWrite(nil)
		if got := readAll(t, s, 1<<20); !bytes.Equal(got, want[:70_000]) || !s.Truncated() {
			t.Errorf("got %d bytes, truncated %v", len(got), s.Truncated())
		}
	}
	s := NewStream(NewBudget(1<<20), 5)
	s.Write([]byte("12345"))
	if s.Truncated() {
		t.Error("truncated although everything fits")
	}
}

func TestFullDisk(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing")) // fails like a full disk
	s := NewStream(NewBudget(1024), 0)
	s.Write([]byte("kept"))
	s.Write(pattern(100_000))
	s.CloseWrite(nil)
	data, err := s.Peek()
	if err != nil || !bytes.HasPrefix(data, []byte("kept")) {
		t.Fatalf("what was in memory is lost: %q, %v", data, err)
	}
	s.Discard(len(data))
	_, err = s.Peek()
	if _, ok := errors.AsType[*SpillError](err); !ok || !s.Truncated() {
		t.Errorf("error %v, truncated %v: a reader must be told", err, s.Truncated())
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewStream(NewBudget(1<<20), 0)
		begun := time.Now()
		if err := s.Wait(t.Context(), time.Hour); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Hour {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Wait(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("context: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			s.Write([]byte("x"))
		}()
		if err := s.Wait(t.Context(), 0); err != nil {
			t.Error(err)
		}
		data, _ := s.Peek()
		s.Discard(len(data))
		go func() {
			time.Sleep(time.Second)
			s.CloseWrite(io.ErrUnexpectedEOF)
		}()
		if err := s.Wait(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if _, err := s.Peek(); err != io.ErrUnexpectedEOF {
			t.Errorf("end: %v", err)
		}
	})
}

func TestReplayBuffer(t *testing.T) {
	t.Parallel()
	want := pattern(3 << 20) // more than is kept in memory
	buffer := NewReplayBuffer()
	r, w := io.Pipe()
	go buffer.Fill(r)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var got []byte
			buf := make([]byte, 1000*(i+1))
			for {
				n, err := buffer.ReadAt(t.Context(), buf, int64(len(got)))
				got = append(got, buf[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("reader %d got something else", i)
			}
		})
	}
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 50_000)
		w.Write(rest[:n])
		rest = rest[n:]
	}
	w.Close()
	wg.Wait()
	if err := buffer.Close(); err != nil {
		t.Error(err)
	}
	if _, err := buffer.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Error("a closed buffer can be read")
	}
}

func TestReplayBufferWaits(t *testing.T) {
	t.Parallel()
	buffer := NewReplayBuffer()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := buffer.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := buffer.ReadAt(context.Background(), make([]byte, 1), 0)
		done <- err
	}()
	buffer.Close()
	if err := <-done; err == nil {
		t.Error("Close does not end a reader")
	}
}

func BenchmarkStream(b *testing.B) {
	chunk := pattern(chunkSize)
	s := NewStream(NewBudget(1<<20), 0)
	b.SetBytes(chunkSize)
	for b.Loop() {
		s.ReadFrom(bytes.NewReader(chunk))
		for {
			data, _ := s.Peek()
			if len(data) == 0 {
				break
			}
			s.Discard(len(data))
		}
	}
}

// used returns how many bytes of memory hold unread data.
func used(b *Budget) int64 { return b.used.Load() }

// spilled returns how many bytes of the file hold unread data.
func spilled(b *Budget) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(int(b.blocks)-len(b.free)) * chunkSize
}
