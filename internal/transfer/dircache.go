package transfer

import (
	"os"
	"sync"
)

// dirCache keeps the directories open that files are just written to: from the root on,
// every step of a path is checked, which takes longer than making a small file.
type dirCache struct {
	mu    sync.Mutex // protects what follows
	dirs  map[string]*cachedDir
	clock int // counts uses
}

// cachedDir is a directory below the root of a target. Nothing leads out of it.
type cachedDir struct {
	*os.Root
	users   int
	lastUse int // when it was used last
}

// idleDirs is how many directories stay open that nobody uses.
const idleDirs = 8

// open returns a directory below root. leave must be called for it.
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

// leave says that one user is done with a directory.
func (o *dirCache) release(d *cachedDir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d.users--
}

// evict closes the directory that was not used for the longest time, if there are too
// many. mu must be held.
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

// close closes all of them. Nobody may use one any more.
func (o *dirCache) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.dirs {
		d.Close()
	}
	o.dirs = nil
}
