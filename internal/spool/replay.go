package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// replayMemory is how much of a ReplayBuffer is kept in memory.
const replayMemory = 1 << 20

var errReplayClosed = errors.New("input closed")

// ReplayBuffer keeps what is read from a source, once, for any number of readers that all begin at the
// start. The first MiB is kept in memory, the rest in an unnamed temporary file. Its methods may be
// called concurrently.
type ReplayBuffer struct {
	mu      sync.Mutex // protects what follows
	head    []byte     // the first bytes
	file    *os.File   // the bytes after them; nil: none
	size    int64      // bytes in head and file
	err     error      // why no more bytes come; io.EOF at the end of the source
	changed chan struct{}
	closed  bool
}

// NewReplayBuffer returns an empty buffer. Nothing is read before Fill.
func NewReplayBuffer() *ReplayBuffer { return &ReplayBuffer{changed: make(chan struct{})} }

// Fill reads src to its end. If the buffer is closed, Fill returns after the current Read.
func (r *ReplayBuffer) Fill(src io.Reader) {
	buf := make([]byte, chunkSize)
	for {
		n, err := src.Read(buf)
		r.mu.Lock()
		if r.err == nil && n > 0 {
			if keepErr := r.append(buf[:n]); keepErr != nil {
				r.err = fmt.Errorf("keep it for slower hosts: %w", keepErr)
			}
		}
		if r.err == nil && err != nil {
			r.err = err
		}
		done := r.err != nil
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
		if done {
			return
		}
	}
}

// Close ends all readers with an error and closes the file. It may be called twice.
func (r *ReplayBuffer) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	r.err = errReplayClosed
	close(r.changed)
	r.changed = make(chan struct{})
	r.head = nil
	if r.file == nil {
		return nil
	}
	return closeUnlinked(r.file)
}

// ReadAt reads at least one byte at offset off. It waits for it until ctx ends. At the end of the
// source, the error is io.EOF.
func (r *ReplayBuffer) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	for {
		r.mu.Lock()
		if off < r.size && !r.closed {
			n, err := r.copy(p, off)
			r.mu.Unlock()
			return n, err
		}
		err, changed := r.err, r.changed
		r.mu.Unlock()
		if err != nil {
			return 0, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// copy reads bytes that are in the buffer. r.mu is held, so that Close cannot close the file meanwhile;
// a local file does not block for long.
func (r *ReplayBuffer) copy(p []byte, off int64) (int, error) {
	if off < int64(len(r.head)) {
		return copy(p, r.head[off:]), nil
	}
	p = p[:min(int64(len(p)), r.size-off)]
	return r.file.ReadAt(p, off-int64(len(r.head)))
}

// append appends p to the buffer. r.mu is held.
func (r *ReplayBuffer) append(p []byte) error {
	if r.file == nil {
		n := min(len(p), replayMemory-len(r.head))
		r.head = append(r.head, p[:n]...)
		r.size += int64(n)
		p = p[n:]
	}
	if len(p) == 0 {
		return nil
	}
	if r.file == nil {
		f, err := openUnlinked()
		if err != nil {
			return err
		}
		r.file = f
	}
	if _, err := r.file.WriteAt(p, r.size-int64(len(r.head))); err != nil {
		return err
	}
	r.size += int64(len(p))
	return nil
}
