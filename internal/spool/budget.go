// Package spool keeps what a command has written until somebody reads it: in
// memory as long as a budget shared by many streams allows, beyond it in one
// temporary file that has no name. A writer never waits for a reader.
package spool

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// chunkSize is the largest piece in which data is held, in memory and in the
// file: the largest packet that an SSH server sends.
const chunkSize = 32 << 10

// Budget bounds the memory that the unread data of all its streams takes, and
// holds the file that takes the rest. It costs nothing until used. Its methods
// may be called from many goroutines.
type Budget struct {
	limit int64
	used  atomic.Int64 // bytes of memory that hold data
	eager atomic.Int32 // streams that wait for data with a whole chunk in hand

	mu     sync.Mutex // protects what follows
	file   *os.File
	blocks uint32   // how many the file has
	free   []uint32 // those of them that are not in use
	closed bool
}

// NewBudget returns a Budget of so many bytes of memory.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Close gives up the file. Data that is still unread keeps the file open until it
// has been read or its streams are gone.
func (b *Budget) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.releaseFile()
}

// Used returns how many bytes of memory hold unread data.
func (b *Budget) Used() int64 { return b.used.Load() }

// Spilled returns how many bytes of the file are set aside for unread data.
func (b *Budget) Spilled() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(int(b.blocks)-len(b.free)) * chunkSize
}

// maxEager is how many streams may wait for data with a whole chunk in hand, which
// saves a read and a copy for those where it keeps coming.
const maxEager = 64

// beEager reports whether one more stream may wait so; it calls rest afterwards.
func (b *Budget) beEager() bool {
	if b.eager.Add(1) <= maxEager {
		return true
	}
	b.rest()
	return false
}

func (b *Budget) rest() { b.eager.Add(-1) }

// take sets n bytes of memory aside, if there are so many left.
func (b *Budget) take(n int) bool {
	if b.used.Add(int64(n)) <= b.limit {
		return true
	}
	b.used.Add(-int64(n))
	return false
}

// force sets n bytes aside whether they are left or not: for the one chunk that
// each reader has in its hands.
func (b *Budget) force(n int) { b.used.Add(int64(n)) }

func (b *Budget) give(n int) { b.used.Add(-int64(n)) }

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

// freeBlock gives a block back. When none is in use the file is cut to nothing,
// and closed if the budget is.
func (b *Budget) freeBlock(block uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, block)
	if len(b.free) == int(b.blocks) {
		b.free, b.blocks = b.free[:0], 0
		if b.closed {
			b.releaseFile()
		} else if b.file.Truncate(0) != nil {
			// The blocks will be written over; nothing is lost but disk space.
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

// writeAt and readAt use the file, which is there as long as a block is in use.
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

// openUnlinked creates a temporary file that no other process can open and that
// is gone with the process, however that ends.
func openUnlinked() (*os.File, error) {
	f, err := os.CreateTemp("", "fleetssh-output-*")
	if err != nil {
		return nil, err
	}
	if runtime.GOOS == "windows" {
		return f, nil // removed by closeUnlinked: an open file cannot be
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
