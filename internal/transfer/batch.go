package transfer

import (
	"io"
	"runtime"
	"sync"
)

// batch gathers small writes while an earlier one is under way: requests that many
// goroutines make at the same time go out in one packet of SSH. Large ones, which are
// the blocks of files, are written as they are.
type batch struct {
	w io.WriteCloser

	mu      sync.Mutex // protects what follows
	changed sync.Cond
	buf     []byte
	writing bool
	closed  bool
	err     error

	done chan struct{} // closed when the goroutine that writes has ended
}

const (
	smallWrite = 8 << 10
	maxBatch   = 64 << 10
)

func newBatch(w io.WriteCloser) *batch {
	b := &batch{w: w, done: make(chan struct{})}
	b.changed.L = &b.mu
	go b.run()
	return b
}

// run writes what was gathered, until the batch is closed or a write fails.
func (b *batch) run() {
	defer close(b.done)
	var spare []byte
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for (len(b.buf) == 0 || b.writing) && !b.closed && b.err == nil {
			b.changed.Wait()
		}
		if b.closed || b.err != nil {
			return
		}
		// Those who are about to make requests get to it first.
		b.mu.Unlock()
		runtime.Gosched()
		b.mu.Lock()
		if b.writing {
			continue
		}
		out := b.buf
		b.buf, b.writing = spare[:0], true
		b.mu.Unlock()
		_, err := b.w.Write(out)
		b.mu.Lock()
		b.wrote(err)
		spare = out
	}
}

// wrote notes the end of a write. mu must be held.
func (b *batch) wrote(err error) {
	b.writing = false
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// Write implements [io.Writer]. An error may be that of an earlier write.
func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	small := len(p) <= smallWrite
	for b.err == nil && !b.closed && (small && len(b.buf) >= maxBatch || !small && (b.writing || len(b.buf) > 0)) {
		b.changed.Wait()
	}
	switch {
	case b.err != nil:
		return 0, b.err
	case b.closed:
		return 0, io.ErrClosedPipe
	case small:
		b.buf = append(b.buf, p...)
		b.changed.Broadcast()
		return len(p), nil
	}
	b.writing = true
	b.mu.Unlock()
	n, err := b.w.Write(p)
	b.mu.Lock()
	b.wrote(err)
	return n, err
}

// Close closes the writer. What was not written yet is not wanted any more.
func (b *batch) Close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	b.changed.Broadcast()
	b.mu.Unlock()
	if again {
		return nil
	}
	err := b.w.Close() // frees a write
	<-b.done
	return err
}
