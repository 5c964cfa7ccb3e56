package transfer

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// blockCache reads local files in blocks. Hosts that need a block at about the same time share one
// read, and unused blocks stay until the cache is full.
type blockCache struct {
	size  int           // of a block
	limit int64         // bytes of all blocks
	slots chan struct{} // one token for each open file

	reads atomic.Int64 // bytes read from files

	mu     sync.Mutex // protects what follows, and the fields of files and blocks
	held   int64      // bytes of all blocks
	files  map[string]*sourceFile
	unused *list.List // of *block, the least recently used first
}

// sourceFile is a local file that is being copied.
type sourceFile struct {
	cache *blockCache
	entry *entry

	users  int
	opened chan struct{} // closed when file or err is set; nil: not being opened
	file   localFile
	err    error
	sparse bool
	blocks map[int64]*block
}

// block is a part of a file.
type block struct {
	file       *sourceFile
	index      int64
	data       []byte
	zero       bool
	err        error
	ready      chan struct{} // closed when the above are set
	users      int
	lruElement *list.Element // in blockCache.unused; nil while it has users
}

func newBlockCache(limit int64, size, files int) *blockCache {
	return &blockCache{size: size, limit: limit, slots: make(chan struct{}, files), files: make(map[string]*sourceFile), unused: list.New()}
}

// errChanged means that a file is not the listed one any more.
var errChanged = errors.New("changed while it was copied")

// open returns the file of an entry. The caller must call release.
func (c *blockCache) open(ctx context.Context, e *entry) (*sourceFile, error) {
	c.mu.Lock()
	f := c.files[e.path]
	if f == nil {
		f = &sourceFile{cache: c, entry: e, blocks: make(map[int64]*block)}
		c.files[e.path] = f
	}
	if f.entry != e && (f.entry.size != e.size || !f.entry.mtime.Equal(e.mtime)) {
		c.mu.Unlock()
		return nil, errChanged // two listings found different files
	}
	f.users++
	opened := f.opened
	first := opened == nil
	if first {
		opened = make(chan struct{})
		f.opened, f.err = opened, nil
	}
	c.mu.Unlock()
	if first {
		file, sparse, err := c.openFile(ctx, e)
		c.mu.Lock()
		f.file, f.sparse, f.err = file, sparse, err
		if err != nil {
			f.opened = nil // the next caller tries again
		}
		c.mu.Unlock()
		close(opened)
	}
	select {
	case <-opened:
	case <-ctx.Done():
		f.release()
		return nil, ctx.Err()
	}
	c.mu.Lock()
	ok, err := f.file != nil, f.err
	c.mu.Unlock()
	switch {
	case ok:
		return f, nil
	case first || ctx.Err() != nil || err != nil && !isOfContext(err):
		f.release()
		return nil, err
	}
	// Another host was opening the file, and its context ended: try again.
	f.release()
	return c.open(ctx, e)
}

// isOfContext reports whether an error comes from a context that has ended.
func isOfContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// openFile opens a file and checks that it is the one that was listed. It reports whether the file
// is sparse.
func (c *blockCache) openFile(ctx context.Context, e *entry) (localFile, bool, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if e.content != nil {
		return snapshotFile{bytes.NewReader(e.content)}, false, nil
	}
	file, err := openRegular(e.path)
	if err == nil {
		var info os.FileInfo
		if info, err = file.Stat(); err == nil {
			if info.Size() != e.size || !info.ModTime().Equal(e.mtime) || !info.Mode().IsRegular() {
				err = errChanged
			} else {
				return file, isSparse(info), nil
			}
		}
		file.Close()
	}
	<-c.slots
	return nil, false, err
}

// release ends one use of the file. The last one closes it.
func (f *sourceFile) release() {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	if f.file != nil {
		f.file.Close()
		f.file, f.opened = nil, nil
		<-c.slots
	}
	f.forget()
}

// forget drops a file without users and blocks. The cache's mu must be held.
func (f *sourceFile) forget() {
	if f.users == 0 && len(f.blocks) == 0 && f.cache.files[f.entry.path] == f {
		delete(f.cache.files, f.entry.path)
	}
}

// block returns block number i of the file. The caller must call release.
func (f *sourceFile) block(ctx context.Context, i int64) (*block, error) {
	c := f.cache
	c.mu.Lock()
	b := f.blocks[i]
	mine := b == nil
	if mine {
		n := min(int64(c.size), f.entry.size-i*int64(c.size))
		b = &block{file: f, index: i, data: c.allocate(int(n)), ready: make(chan struct{})}
		f.blocks[i] = b
	} else if b.lruElement != nil {
		c.unused.Remove(b.lruElement)
		b.lruElement = nil
	}
	b.users++
	c.mu.Unlock()
	if mine {
		c.fill(b)
	}
	select {
	case <-b.ready:
	case <-ctx.Done():
		b.release()
		return nil, ctx.Err()
	}
	if b.err != nil {
		b.release()
		return nil, b.err
	}
	return b, nil
}

// fill reads a block.
func (c *blockCache) fill(b *block) {
	n, err := b.file.file.ReadAt(b.data, b.index*int64(c.size))
	c.reads.Add(int64(n))
	switch {
	case n == len(b.data):
		b.zero = b.file.sparse && allZero(b.data)
	case err == io.EOF:
		b.err = errChanged
	default:
		b.err = err
	}
	close(b.ready)
}

// release ends one use of the block.
func (b *block) release() {
	c := b.file.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.users--; b.users > 0 {
		return
	}
	if b.err != nil {
		c.remove(b)
		return
	}
	b.lruElement = c.unused.PushBack(b)
	c.evict(0)
}

// allocate returns memory for a block and evicts unused ones if the cache is full. Blocks in use may
// exceed the limit; Job.inFlight bounds them. mu must be held.
func (c *blockCache) allocate(n int) []byte {
	old := c.evict(n)
	c.held += int64(n)
	if cap(old) >= n {
		return old[:n]
	}
	return make([]byte, n, min(c.size, (n+4095)&^4095))
}

// evict removes unused blocks until n more bytes fit, and returns the memory of the last one. mu must
// be held.
func (c *blockCache) evict(n int) (freed []byte) {
	for c.held+int64(n) > c.limit {
		oldest := c.unused.Front()
		if oldest == nil {
			break
		}
		b := oldest.Value.(*block)
		c.unused.Remove(oldest)
		c.remove(b)
		freed = b.data
	}
	return freed
}

// remove removes a block. mu must be held.
func (c *blockCache) remove(b *block) {
	c.held -= int64(len(b.data))
	delete(b.file.blocks, b.index)
	b.file.forget()
}

// close removes all blocks.
func (c *blockCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.unused.Front(); e != nil; e = c.unused.Front() {
		c.unused.Remove(e)
		c.remove(e.Value.(*block))
	}
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
