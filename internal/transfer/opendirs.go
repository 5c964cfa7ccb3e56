package transfer

import (
	"os"
	"sync"
)

// openDirs keeps the directories open that files are just written to: from the root on,
// every step of a path is checked, which takes longer than making a small file.
type openDirs struct {
	mu   sync.Mutex // protects what follows
	dirs map[string]*openDir
	turn int
}

// openDir is a directory below the root of a target. Nothing leads out of it.
type openDir struct {
	*os.Root
	users int
	turn  int // when it was used last
}

// idleDirs is how many directories stay open that nobody uses.
const idleDirs = 8

// open returns a directory below root. leave must be called for it.
func (o *openDirs) open(root *os.Root, name string) (*openDir, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.dirs[name]
	if d == nil {
		below, err := root.OpenRoot(name)
		if err != nil {
			return nil, reasonOf(err)
		}
		if o.dirs == nil {
			o.dirs = make(map[string]*openDir)
		}
		o.evict()
		d = &openDir{Root: below}
		o.dirs[name] = d
	}
	o.turn++
	d.turn = o.turn
	d.users++
	return d, nil
}

// leave says that one user is done with a directory.
func (o *openDirs) leave(d *openDir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d.users--
}

// evict closes the directory that was not used for the longest time, if there are too
// many. mu must be held.
func (o *openDirs) evict() {
	idle, oldest := 0, ""
	for name, d := range o.dirs {
		if d.users > 0 {
			continue
		}
		if idle++; oldest == "" || d.turn < o.dirs[oldest].turn {
			oldest = name
		}
	}
	if idle >= idleDirs {
		o.dirs[oldest].Close()
		delete(o.dirs, oldest)
	}
}

// close closes all of them. Nobody may use one any more.
func (o *openDirs) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.dirs {
		d.Close()
	}
	o.dirs = nil
}
