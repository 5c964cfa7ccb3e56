package transfer

import (
	"os"
	"sync"
)

// dirCache keeps directories open that files are being written to. Opening one checks every step of
// the path from the root, which takes longer than creating a small file.
type dirCache struct {
	mu    sync.Mutex // protects what follows
	dirs  map[string]*cachedDir
	clock int // counts calls of open
}

// cachedDir is a directory below the root of a target. As an os.Root, nothing leads out of it.
type cachedDir struct {
	*os.Root
	users   int
	lastUse int // value of clock
}

// idleDirs is how many unused directories stay open.
const idleDirs = 8

// open returns a directory below root. The caller must call release.
func (o *dirCache) open(root *os.Root, name string) (*cachedDir, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.dirs[name]
	if d == nil {
		below, err := root.OpenRoot(name)
		if err != nil {
			return nil, reasonOf(err)
		}
		if o.dirs == nil {
			o.dirs = make(map[string]*cachedDir)
		}
		o.evict()
		d = &cachedDir{Root: below}
		o.dirs[name] = d
	}
	o.clock++
	d.lastUse = o.clock
	d.users++
	return d, nil
}

// release ends one use of a directory.
func (o *dirCache) release(d *cachedDir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d.users--
}

// evict closes the least recently used directory if too many are unused. mu must be held.
func (o *dirCache) evict() {
	idle, oldest := 0, ""
	for name, d := range o.dirs {
		if d.users > 0 {
			continue
		}
		if idle++; oldest == "" || d.lastUse < o.dirs[oldest].lastUse {
			oldest = name
		}
	}
	if idle >= idleDirs {
		o.dirs[oldest].Close()
		delete(o.dirs, oldest)
	}
}

// close closes all directories. None may be in use.
func (o *dirCache) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.dirs {
		d.Close()
	}
	o.dirs = nil
}
