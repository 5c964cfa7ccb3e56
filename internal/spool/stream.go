package spool

import (
	"context"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// Stream is a queue of bytes with one writer and one reader, which may run concurrently.
type Stream struct {
	budget *Budget

	mu        sync.Mutex // protects what follows
	queue     []segment  // unread data, oldest first
	next      int        // queue[:next] has been read
	remaining int64      // what may still be written; negative: no limit
	truncated bool       // data was dropped, for the limit or because it could not be kept
	err       error      // why no more data comes; io.EOF at the regular end
	waiting   bool       // the reader waits for ready
	ready     chan struct{}
}

// segment is a part of the stream, in memory or in one block of the file.
type segment struct {
	data  []byte // in memory: the unread bytes
	full  []byte // the chunk that data is part of; its length is reserved in the budget
	block uint32 // in the file, if full is nil
	size  int    // bytes in the block
}

// chunks recycles chunks of the full size.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// smalls recycles the buffers with which ReadFrom waits. They are not part of a Stream, since an
// ended stream may be kept for long.
var smalls = sync.Pool{New: func() any { return new([512]byte) }}

// NewStream returns an empty stream that keeps limit bytes and drops the rest. Zero means no limit.
func NewStream(budget *Budget, limit int64) *Stream {
	if limit == 0 {
		limit = -1
	}
	return &Stream{budget: budget, remaining: limit, ready: make(chan struct{}, 1)}
}

// Write keeps a copy of p. It never waits for the reader and never fails. After CloseWrite, data is
// dropped.
func (s *Stream) Write(p []byte) (int, error) {
	n := len(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	for p = s.admit(p); len(p) > 0; {
		k, err := s.append(p)
		if err != nil {
			s.fail(err)
			break
		}
		p = p[k:]
	}
	s.wake()
	return n, nil
}

// ReadFrom writes everything that it reads from r. While it waits, it uses a few hundred bytes of
// memory; while data keeps coming, it reads whole chunks. The error is nil at the end of r.
func (s *Stream) ReadFrom(r io.Reader) (int64, error) {
	small := smalls.Get().(*[512]byte)
	defer smalls.Put(small)
	var total int64
	for eager := false; ; {
		var n int
		var err error
		if eager && s.budget.startEager() {
			n, err = s.readChunk(r)
			s.budget.endEager()
		} else if n, err = r.Read(small[:]); n < len(small) || err != nil {
			s.Write(small[:n])
		} else {
			s.Write(small[:n])
			total += int64(n)
			n, err = s.readChunk(r) // a full buffer mostly means that more is ready
		}
		total += int64(n)
		eager = n >= chunkSize/4
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// readChunk reads once from r into memory that becomes part of the stream.
func (s *Stream) readChunk(r io.Reader) (int, error) {
	chunk := chunks.Get().(*[chunkSize]byte)
	n, err := r.Read(chunk[:])
	s.mu.Lock()
	keep := len(s.admit(chunk[:n]))
	if keep > chunkSize/2 && s.budget.reserve(chunkSize) {
		s.queue = append(s.queue, segment{data: chunk[:keep], full: chunk[:]})
		s.wake()
		s.mu.Unlock()
		return n, err
	}
	for p := chunk[:keep]; len(p) > 0; {
		k, appendErr := s.append(p)
		if appendErr != nil {
			s.fail(appendErr)
			break
		}
		p = p[k:]
	}
	s.wake()
	s.mu.Unlock()
	chunks.Put(chunk)
	return n, err
}

// CloseWrite ends the stream. After the data written so far, the reader gets err, or io.EOF if err is
// nil. Only the first call counts.
func (s *Stream) CloseWrite(err error) {
	if err == nil {
		err = io.EOF
	}
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.wake()
	s.mu.Unlock()
}

// Truncated reports whether data was dropped.
func (s *Stream) Truncated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.truncated
}

// Wait blocks until Peek can return data or the end. If ctx ends first, it returns its cause. After
// timeout, it returns os.ErrDeadlineExceeded; a timeout of zero means no limit.
func (s *Stream) Wait(ctx context.Context, timeout time.Duration) error {
	var expired <-chan time.Time
	for {
		s.mu.Lock()
		if s.next < len(s.queue) || s.err != nil {
			s.waiting = false
			s.mu.Unlock()
			return nil
		}
		s.waiting = true
		s.mu.Unlock()
		if timeout > 0 && expired == nil {
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-expired:
			return os.ErrDeadlineExceeded
		}
	}
}

// Peek returns the next unread bytes, as far as they are contiguous, without waiting and without
// consuming them. It returns no bytes and no error if there are none yet, and the error of CloseWrite
// at the end. The bytes are valid until Discard.
func (s *Stream) Peek() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == len(s.queue) {
		return nil, s.err
	}
	if err := s.load(&s.queue[s.next]); err != nil {
		return nil, err
	}
	return s.queue[s.next].data, nil
}

// Discard consumes n bytes, at most as many as Peek has returned.
func (s *Stream) Discard(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == len(s.queue) {
		return
	}
	seg := &s.queue[s.next]
	if seg.data = seg.data[n:]; len(seg.data) > 0 {
		return
	}
	s.release(seg)
	if s.next++; s.next == len(s.queue) {
		s.queue, s.next = s.queue[:0], 0
	} else if s.next >= 64 && s.next > len(s.queue)/2 {
		// Delete clears the elements behind the new end. Otherwise chunks that move forward would
		// stay referenced there after they have been read.
		s.queue, s.next = slices.Delete(s.queue, 0, s.next), 0
	}
}

// Drop discards the unread data and everything that is still written.
func (s *Stream) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.next; i < len(s.queue); i++ {
		s.release(&s.queue[i])
	}
	s.queue, s.next, s.remaining = nil, 0, 0
}

// admit cuts p to what the limit still allows. s.mu is held.
func (s *Stream) admit(p []byte) []byte {
	if s.err != nil {
		return nil
	}
	if s.remaining >= 0 {
		if int64(len(p)) > s.remaining {
			p = p[:s.remaining]
			s.truncated = true
		}
		s.remaining -= int64(len(p))
	}
	return p
}

// append keeps the first bytes of p, in memory if the budget allows it, and returns how many. s.mu is
// held.
func (s *Stream) append(p []byte) (int, error) {
	if last := len(s.queue) - 1; last >= s.next {
		seg := &s.queue[last]
		if seg.full != nil {
			if room := cap(seg.data) - len(seg.data); room > 0 {
				n := min(room, len(p))
				seg.data = append(seg.data, p[:n]...)
				return n, nil
			}
		} else if room := chunkSize - seg.size; room > 0 {
			n := min(room, len(p))
			if err := s.budget.writeAt(p[:n], seg.block, seg.size); err != nil {
				return 0, err
			}
			seg.size += n
			return n, nil
		}
	}
	if size := s.chunkFor(len(p)); s.budget.reserve(size) {
		var full []byte
		if size == chunkSize {
			full = chunks.Get().(*[chunkSize]byte)[:]
		} else {
			full = make([]byte, size)
		}
		n := copy(full, p)
		s.queue = append(s.queue, segment{data: full[:n], full: full})
		return n, nil
	}
	block, err := s.budget.block()
	if err != nil {
		return 0, err
	}
	n := min(len(p), chunkSize)
	if err := s.budget.writeAt(p[:n], block, 0); err != nil {
		s.budget.freeBlock(block)
		return 0, err
	}
	s.queue = append(s.queue, segment{block: block, size: n})
	return n, nil
}

// chunkFor returns how much memory to reserve for n bytes. It grows with the number of unread
// segments, so that a stream with little data stays small.
func (s *Stream) chunkFor(n int) int {
	size := 64
	if unread := len(s.queue) - s.next; unread > 0 {
		size = 512 << min(unread, 6)
	}
	for size < n {
		size *= 2
	}
	return min(size, chunkSize)
}

// load reads a segment from the file into memory.
func (s *Stream) load(seg *segment) error {
	if seg.full != nil {
		return nil
	}
	chunk := chunks.Get().(*[chunkSize]byte)
	if err := s.budget.readAt(chunk[:seg.size], seg.block); err != nil {
		chunks.Put(chunk)
		return err
	}
	s.budget.freeBlock(seg.block)
	s.budget.reserveAlways(chunkSize)
	seg.full, seg.data = chunk[:], chunk[:seg.size]
	return nil
}

// release frees the memory or the block of a segment.
func (s *Stream) release(seg *segment) {
	if seg.full == nil {
		s.budget.freeBlock(seg.block)
	} else {
		s.budget.release(len(seg.full))
		if len(seg.full) == chunkSize {
			chunks.Put((*[chunkSize]byte)(seg.full))
		}
	}
	*seg = segment{}
}

// fail ends the stream because its data cannot be kept, for example on a full disk. Earlier data stays
// readable, and the command on the host runs on.
func (s *Stream) fail(err error) {
	s.truncated = true
	if s.err == nil {
		s.err = &SpillError{err}
	}
}

// wake wakes a waiting reader. s.mu is held.
func (s *Stream) wake() {
	if s.waiting {
		s.waiting = false
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
}

// SpillError means that unread data did not fit into the budget and could not be written to the
// temporary file.
type SpillError struct{ Err error }

// Error implements [error].
func (e *SpillError) Error() string { return "unread output could not be kept: " + e.Err.Error() }

// Unwrap returns the error of the file.
func (e *SpillError) Unwrap() error { return e.Err }
