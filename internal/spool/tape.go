package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// tapeMemory is how much of a Tape is held in memory.
const tapeMemory = 1 << 20

var errTapeClosed = errors.New("input closed")

// Tape holds what is read once from a source, for any number of readers that all
// begin at the start. The first MiB is in memory, the rest in a temporary file
// without a name. Nothing is read before Play.
type Tape struct {
	mu     sync.Mutex // protects what follows
	head   []byte     // the first bytes
	file   *os.File   // what comes behind them
	size   int64      // how much there is
	err    error      // why no more comes; io.EOF at the end of the source
	more   chan struct{}
	closed bool
}

// NewTape returns an empty tape.
func NewTape() *Tape { return &Tape{more: make(chan struct{})} }

// Play reads src to its end. It returns early, after the Read that is under way,
// when the tape is closed.
func (t *Tape) Play(src io.Reader) {
	buf := make([]byte, chunkSize)
	for {
		n, err := src.Read(buf)
		t.mu.Lock()
		if t.err == nil && n > 0 {
			if keepErr := t.keep(buf[:n]); keepErr != nil {
				t.err = fmt.Errorf("keep it for slower hosts: %w", keepErr)
			}
		}
		if t.err == nil && err != nil {
			t.err = err
		}
		done := t.err != nil
		close(t.more)
		t.more = make(chan struct{})
		t.mu.Unlock()
		if done {
			return
		}
	}
}

// Close ends every reader and gives up the file.
func (t *Tape) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.err = errTapeClosed
	close(t.more)
	t.more = make(chan struct{})
	t.head = nil
	if t.file == nil {
		return nil
	}
	return closeUnlinked(t.file)
}

// ReadAt fills p from the given offset with what there is, at least one byte. It
// waits for it, until ctx ends. At the end of the source the error is io.EOF.
func (t *Tape) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	for {
		t.mu.Lock()
		if off < t.size && !t.closed {
			n, err := t.copy(p, off)
			t.mu.Unlock()
			return n, err
		}
		err, more := t.err, t.more
		t.mu.Unlock()
		if err != nil {
			return 0, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// copy reads what is there. t.mu is held, so that Close cannot take the file
// away; reading it does not wait for anybody.
func (t *Tape) copy(p []byte, off int64) (int, error) {
	if off < int64(len(t.head)) {
		return copy(p, t.head[off:]), nil
	}
	p = p[:min(int64(len(p)), t.size-off)]
	return t.file.ReadAt(p, off-int64(len(t.head)))
}

// keep appends p. t.mu is held.
func (t *Tape) keep(p []byte) error {
	if t.file == nil {
		n := min(len(p), tapeMemory-len(t.head))
		t.head = append(t.head, p[:n]...)
		t.size += int64(n)
		p = p[n:]
	}
	if len(p) == 0 {
		return nil
	}
	if t.file == nil {
		f, err := openUnlinked()
		if err != nil {
			return err
		}
		t.file = f
	}
	if _, err := t.file.WriteAt(p, t.size-int64(len(t.head))); err != nil {
		return err
	}
	t.size += int64(len(p))
	return nil
}
