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

// readAll takes everything from a stream that has been closed for writing.
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
					if used := b.Used(); used > limit {
						t.Errorf("%d bytes in memory, the budget is %d", used, limit)
					}
					if got := readAll(t, s, 1000); !bytes.Equal(got, want) {
						t.Errorf("%d bytes came out differently", size)
					}
					if b.Used() != 0 || b.Spilled() != 0 {
						t.Errorf("after reading, %d bytes of memory and %d of the file are in use", b.Used(), b.Spilled())
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
			// HalfReader makes the pieces odd.
			src := io.TeeReader(iotest.HalfReader(bytes.NewReader(pattern(size+i))), sum)
			s.ReadFrom(src)
			s.CloseWrite(nil)
			close(started)
			sums <- sum
		})
		wg.Go(func() {
			if i%2 == 0 {
				<-started // everything is in the spool by now
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
	if b.Used() != 0 || b.Spilled() != 0 {
		t.Errorf("at the end %d bytes of memory and %d of the file are in use", b.Used(), b.Spilled())
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

// What has been read is let go of, also where the queue moves what is unread to its front.
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
		if read%100 == 0 { // more comes while the reader is at work
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
	if b.Used() != 0 || b.Spilled() != 0 {
		t.Errorf("after Drop, %d bytes of memory and %d of the file are in use", b.Used(), b.Spilled())
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
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing")) // as good as a full one
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
	if _, ok := errors.AsType[*KeepError](err); !ok || !s.Truncated() {
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

func TestTape(t *testing.T) {
	t.Parallel()
	want := pattern(3 << 20) // beyond what is held in memory
	tape := NewTape()
	r, w := io.Pipe()
	go tape.Play(r)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var got []byte
			buf := make([]byte, 1000*(i+1))
			for {
				n, err := tape.ReadAt(t.Context(), buf, int64(len(got)))
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
	if err := tape.Close(); err != nil {
		t.Error(err)
	}
	if _, err := tape.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Error("a closed tape can be read")
	}
}

func TestTapeWaits(t *testing.T) {
	t.Parallel()
	tape := NewTape()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tape.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := tape.ReadAt(context.Background(), make([]byte, 1), 0)
		done <- err
	}()
	tape.Close()
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
