package transfer

import (
	"io"
	"runtime"
	"sync"
)

// batch is a writer that collects small writes while another write is running, so that requests of
// many goroutines share a packet of SSH. Large writes, the blocks of files, are not collected.
type batch struct {
	w io.WriteCloser

	mu      sync.Mutex // protects what follows
	changed sync.Cond
	buf     []byte
	writing bool
	closed  bool
	err     error

	done chan struct{} // closed when run has returned
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

// run writes what was collected, until the batch is closed or a write fails.
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
		// Let other goroutines add their requests first.
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

// wrote records the end of a write. mu must be held.
func (b *batch) wrote(err error) {
	b.writing = false
	if b.err == nil {
		b.err = err
	}
	b.changed.Broadcast()
}

// Write implements [io.Writer]. It returns before a small write is done, so the error may be one of
// an earlier write.
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

// Close closes the underlying writer and discards what was not written yet. It may be called twice.
func (b *batch) Close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	b.changed.Broadcast()
	b.mu.Unlock()
	if again {
		return nil
	}
	err := b.w.Close() // ends a write that blocks
	<-b.done
	return err
}
