package transfer

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// flusher writes the files of a tree to the host's disk before they get their names. For a small
// file, fsync takes longer than all other requests together, so one sync of the file system replaces
// the fsyncs of many files on hosts that can do it.
type flusher struct {
	*upload
	roots  map[string]string // for each directory, the nearest parent that existed before the copy
	noSync atomic.Bool       // syncing a file system is impossible or too slow

	mu      sync.Mutex // protects what follows
	waiting []*uploadFile
}

const (
	maxUnflushed = 1000     // files that wait for a sync
	minTogether  = 64       // files in a tree; fewer are synced one by one
	maxSmall     = 64 << 10 // bytes of a file that waits; larger ones are synced at once
	maxRoots     = 50       // directories that one sync names

	slowSync = time.Millisecond // per file: if a sync takes longer, fsync is cheaper
)

// newFlusher returns the flusher of a tree, or nil if each file is synced by itself.
func (u *upload) newFlusher(files int, inside map[string]*remoteDir, top string) *flusher {
	if files < minTogether {
		return nil
	}
	// A directory made by the copy is on the file system of its parent.
	roots := make(map[string]string, len(inside))
	var rootOf func(name string) string
	rootOf = func(name string) string {
		dir := path.Join(top, name)
		if known, ok := roots[dir]; ok {
			return known
		}
		root := dir
		if is := inside[name]; is != nil && is.made && name != "" {
			root = rootOf(parentName(name))
		}
		roots[dir] = root
		return root
	}
	for name := range inside {
		rootOf(name)
	}
	return &flusher{upload: u, roots: roots}
}

// accepts reports whether a file waits for a common sync.
func (fl *flusher) accepts(e *entry) bool {
	return fl != nil && e.size <= maxSmall && !fl.noSync.Load()
}

// add takes a file that is written and closed. When enough files wait, it publishes them.
func (fl *flusher) add(ctx context.Context, f *uploadFile) {
	fl.mu.Lock()
	fl.waiting = append(fl.waiting, f)
	var batch []*uploadFile
	if len(fl.waiting) >= maxUnflushed {
		batch, fl.waiting = fl.waiting, nil
	}
	fl.mu.Unlock()
	fl.publish(ctx, batch)
}

// finish publishes the files that still wait.
func (fl *flusher) finish(ctx context.Context) {
	if fl == nil {
		return
	}
	fl.mu.Lock()
	batch := fl.waiting
	fl.waiting = nil
	fl.mu.Unlock()
	fl.publish(ctx, batch)
}

// publish syncs files and gives them their names.
func (fl *flusher) publish(ctx context.Context, batch []*uploadFile) {
	ended := make([]bool, len(batch))
	defer func() {
		for i, f := range batch {
			if !ended[i] { // cleanUp removes the temporary file
				f.progress.end(fileError("write", f.name, false, firstError(context.Cause(ctx), fl.ended(), ErrLost)))
			}
		}
	}()
	if len(batch) == 0 || fl.ended() != nil || ctx.Err() != nil {
		return
	}
	begun := time.Now()
	together := fl.sync(ctx, batch) == nil
	if took := time.Since(begun); ctx.Err() == nil && (!together || took > slowSync*time.Duration(len(batch))) {
		fl.noSync.Store(true) // sync also writes what other programs have left dirty, which may be much
	}
	each(ctx, fl.job.workers(), len(batch), func(i int) {
		f := batch[i]
		var err error
		if !together {
			err = fileError("write", f.name, false, f.syncAlone())
		}
		if err == nil {
			err = f.publish(ctx)
		}
		if err != nil && fl.ended() == nil && ctx.Err() == nil {
			f.discard(f.temp)
		}
		f.progress.end(err)
		ended[i] = true
	})
}

// sync writes the file systems of a batch to disk with one command.
func (fl *flusher) sync(ctx context.Context, batch []*uploadFile) error {
	if fl.noSync.Load() {
		return errors.New("the host cannot sync a file system")
	}
	seen := make(map[string]bool)
	var roots []string
	for _, f := range batch {
		root := fl.roots[path.Dir(f.name)]
		if root == "" {
			root = path.Dir(f.name)
		}
		if !seen[root] {
			seen[root] = true
			roots = append(roots, absolute(root))
		}
	}
	if len(roots) > maxRoots {
		return errors.New("too many file systems")
	}
	out, err := fl.host.command(ctx, shortCommand{programLine(syncProgram, roots...), 1024, fl.job.opt.Stall})
	if err == nil && strings.TrimSpace(string(out)) != "synced" {
		err = errors.New("the host does not confirm the sync")
	}
	return err
}

// absolute returns a path that no program can take for an option.
func absolute(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return "./" + name
}

// syncAlone writes one closed file to disk, if the server can.
func (f *uploadFile) syncAlone() error {
	ch := f.nextChannel()
	return f.reason(ch.do(func() error {
		if _, ok := ch.HasExtension("fsync@openssh.com"); !ok {
			return nil
		}
		file, err := ch.OpenFile(f.temp.name, os.O_WRONLY)
		if err != nil {
			return err
		}
		err = file.Sync()
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		return err
	}))
}
