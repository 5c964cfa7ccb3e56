package fold

import (
	"errors"
	"os"
	"runtime"
)

const (
	// memoryLimit is how many bytes of lines stay in memory; more go to an unnamed file.
	memoryLimit = 32 << 20
	// blockSize is the unit of storage, in memory and in the file. A longer line has a block of
	// its own.
	blockSize = 64 << 10
)

// lineStore stores the lines of the trees, each once, however many hosts wrote it.
type lineStore struct {
	limit    int64
	unit     int   // the size of a block
	inMemory int64 // bytes of blocks in memory
	blocks   []block
	file     *os.File // nil: all lines are in memory
	size     int64    // of the file
}

// block is a run of lines: in memory, or, if data is nil, in the file.
type block struct {
	data   []byte
	offset int64
	length int
}

// line is one stored line.
type line struct {
	block  uint32
	begin  uint32
	length uint32
	hash   uint32
}

// candidate is a line that may be stored already.
type candidate struct {
	text string
	hash uint32
}

// equal reports whether a stored line equals the candidate.
func (t *lineStore) equal(l line, of candidate) (bool, error) {
	if l.hash != of.hash || int(l.length) != len(of.text) {
		return false, nil
	}
	b := &t.blocks[l.block]
	if b.data != nil {
		return string(b.data[l.begin:l.begin+l.length]) == of.text, nil
	}
	kept := make([]byte, l.length)
	if _, err := t.file.ReadAt(kept, b.offset+int64(l.begin)); err != nil {
		return false, err
	}
	return string(kept) == of.text, nil
}

// add keeps a line.
func (t *lineStore) add(c candidate) (line, error) {
	n := len(t.blocks)
	if n == 0 || len(t.blocks[n-1].data)+len(c.text) > cap(t.blocks[n-1].data) {
		if err := t.startBlock(len(c.text)); err != nil {
			return line{}, err
		}
		n++
	}
	b := &t.blocks[n-1]
	begin := len(b.data)
	b.data = append(b.data, c.text...)
	return line{block: uint32(n - 1), begin: uint32(begin), length: uint32(len(c.text)), hash: c.hash}, nil
}

// startBlock starts a block with room for a line. It writes the previous one to the file if memory
// is full.
func (t *lineStore) startBlock(length int) error {
	if n := len(t.blocks); n > 0 && t.inMemory > t.limit {
		if err := t.spill(&t.blocks[n-1]); err != nil {
			return err
		}
	}
	data := make([]byte, 0, max(length, t.unit))
	t.inMemory += int64(cap(data))
	t.blocks = append(t.blocks, block{data: data})
	return nil
}

// spill writes a block to the file.
func (t *lineStore) spill(b *block) error {
	if t.file == nil {
		file, err := os.CreateTemp("", "fleetssh-fold-")
		if err != nil {
			return err
		}
		t.file = file
		// Windows cannot remove an open file; close removes it there.
		if runtime.GOOS != "windows" {
			if err := os.Remove(file.Name()); err != nil {
				return err
			}
		}
	}
	if _, err := t.file.WriteAt(b.data, t.size); err != nil {
		return err
	}
	b.offset, b.length = t.size, len(b.data)
	t.size += int64(len(b.data))
	t.inMemory -= int64(cap(b.data))
	b.data = nil
	return nil
}

// lineReader reads lines one after another, from the file in blocks.
type lineReader struct {
	text   *lineStore
	number uint32
	data   []byte // of block number; nil: none has been read
}

func (r *lineReader) get(l line) (string, error) {
	b := &r.text.blocks[l.block]
	if b.data != nil {
		return string(b.data[l.begin : l.begin+l.length]), nil
	}
	if r.data == nil || r.number != l.block {
		if cap(r.data) < b.length {
			r.data = make([]byte, b.length)
		}
		r.data = r.data[:b.length]
		if _, err := r.text.file.ReadAt(r.data, b.offset); err != nil {
			return "", err
		}
		r.number = l.block
	}
	return string(r.data[l.begin : l.begin+l.length]), nil
}

// close frees all lines.
func (t *lineStore) close() error {
	t.blocks = nil
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	if runtime.GOOS == "windows" {
		err = errors.Join(err, os.Remove(t.file.Name()))
	}
	t.file = nil
	return err
}
