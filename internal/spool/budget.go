// Package spool keeps the output of commands until it is read. It stays in memory as long as a budget
// shared by many streams allows, and beyond that in one unnamed temporary file. A writer never waits
// for a reader.
package spool

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// chunkSize is the largest unit in which data is kept, in memory and in the file. It is the size of
// the largest packet that an SSH server sends.
const chunkSize = 32 << 10

// Budget bounds the memory for the unread data of all its streams, and owns the file for the rest. It
// costs nothing until it is used. Its methods may be called concurrently.
type Budget struct {
	limit int64
	used  atomic.Int64 // bytes of memory that hold data
	eager atomic.Int32 // streams that wait for data with a whole chunk allocated

	mu     sync.Mutex // protects what follows
	file   *os.File
	blocks uint32   // number of blocks in the file
	free   []uint32 // unused blocks
	closed bool
}

// NewBudget returns a budget of limit bytes of memory.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Close closes the file. If some of its data is unread, the file stays open until that is read or
// dropped.
func (b *Budget) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.releaseFile()
}

// maxEager is how many streams may wait for data with a whole chunk allocated. That saves a read and
// a copy for streams where data keeps coming.
const maxEager = 64

// startEager reports whether one more stream may wait with a whole chunk. That stream must call
// endEager afterwards.
func (b *Budget) startEager() bool {
	if b.eager.Add(1) <= maxEager {
		return true
	}
	b.endEager()
	return false
}

func (b *Budget) endEager() { b.eager.Add(-1) }

// reserve reserves n bytes of memory if the budget has them.
func (b *Budget) reserve(n int) bool {
	if b.used.Add(int64(n)) <= b.limit {
		return true
	}
	b.used.Add(-int64(n))
	return false
}

// reserveAlways reserves n bytes even beyond the limit, for the one chunk that a reader is using.
func (b *Budget) reserveAlways(n int) { b.used.Add(int64(n)) }

func (b *Budget) release(n int) { b.used.Add(-int64(n)) }

// block returns an unused block of the file.
func (b *Budget) block() (uint32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		f, err := openUnlinked()
		if err != nil {
			return 0, err
		}
		b.file = f
	}
	if n := len(b.free); n > 0 {
		block := b.free[n-1]
		b.free = b.free[:n-1]
		return block, nil
	}
	b.blocks++
	return b.blocks - 1, nil
}

// freeBlock frees a block. When no block is in use, the file is truncated, or closed if the budget is
// closed.
func (b *Budget) freeBlock(block uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, block)
	if len(b.free) == int(b.blocks) {
		b.free, b.blocks = b.free[:0], 0
		if b.closed {
			b.releaseFile()
		} else if b.file.Truncate(0) != nil {
			// Harmless: the blocks will be overwritten, and only disk space is lost.
			return
		}
	}
}

// releaseFile closes the file if no block of it is in use. b.mu is held.
func (b *Budget) releaseFile() error {
	if b.file == nil || len(b.free) < int(b.blocks) {
		return nil
	}
	f := b.file
	b.file, b.free, b.blocks = nil, nil, 0
	return closeUnlinked(f)
}

// writeAt and readAt use the file, which exists as long as a block is in use.
func (b *Budget) writeAt(p []byte, block uint32, off int) error {
	_, err := b.spillFile().WriteAt(p, int64(block)*chunkSize+int64(off))
	return err
}

func (b *Budget) readAt(p []byte, block uint32) error {
	_, err := b.spillFile().ReadAt(p, int64(block)*chunkSize)
	return err
}

func (b *Budget) spillFile() *os.File {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.file
}

// openUnlinked creates a temporary file without a name: no other process can open it, and it
// disappears when this process ends in whatever way.
func openUnlinked() (*os.File, error) {
	f, err := os.CreateTemp("", "fleetssh-output-*")
	if err != nil {
		return nil, err
	}
	if runtime.GOOS == "windows" {
		return f, nil // closeUnlinked removes it: Windows cannot remove an open file
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func closeUnlinked(f *os.File) error {
	err := f.Close()
	if runtime.GOOS == "windows" {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
