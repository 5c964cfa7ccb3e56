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

	"fleetssh/internal/shellquote"
)

// flusher brings the files of a tree to the disk of the host before they get their names.
// One fsync a file takes longer than all the rest of a small one, so one sync of the file
// system stands for those of many files, on hosts that can.
type flusher struct {
	*upload
	roots   map[string]string // of each directory: the nearest above that was there before
	without atomic.Bool       // the host cannot sync a file system

	mu      sync.Mutex // protects what follows
	waiting []*uploadFile
}

const (
	mostUnflushed = 1000     // files that wait for a sync
	leastTogether = 64       // files in a tree for which it is worth it
	largestSmall  = 64 << 10 // bytes of a file that waits
	mostRoots     = 50       // directories that one sync names

	slowSync = time.Millisecond // a file: then it is better to sync each by itself
)

// newFlusher returns what flushes the files of a tree, nil where each does it by itself.
func (u *upload) newFlusher(files int, inside map[string]*remoteDir, top string) *flusher {
	if files < leastTogether {
		return nil
	}
	// A directory that was made for the copy is on the same file system as the one
	// that it is in.
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

// takes reports whether a file waits for others.
func (fl *flusher) takes(e *entry) bool {
	return fl != nil && e.size <= largestSmall && !fl.without.Load()
}

// add takes over a file that is written and closed.
func (fl *flusher) add(ctx context.Context, f *uploadFile) {
	fl.mu.Lock()
	fl.waiting = append(fl.waiting, f)
	var batch []*uploadFile
	if len(fl.waiting) >= mostUnflushed {
		batch, fl.waiting = fl.waiting, nil
	}
	fl.mu.Unlock()
	fl.publish(ctx, batch)
}

// finish publishes what is left.
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
			if !ended[i] { // it is removed in the end
				f.progress.end(fileError("write", f.name, false, cmpError(context.Cause(ctx), fl.ended(), ErrLost)))
			}
		}
	}()
	if len(batch) == 0 || fl.ended() != nil || ctx.Err() != nil {
		return
	}
	begun := time.Now()
	together := fl.sync(ctx, batch) == nil
	if took := time.Since(begun); ctx.Err() == nil && (!together || took > slowSync*time.Duration(len(batch))) {
		fl.without.Store(true) // it writes what others have left, too: that may be much
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

// sync brings the file systems of a batch to the disk. sync -f waits for that on Linux.
func (fl *flusher) sync(ctx context.Context, batch []*uploadFile) error {
	if fl.without.Load() {
		return errors.New("the host cannot")
	}
	seen := make(map[string]bool)
	var words []string
	for _, f := range batch {
		root := fl.roots[path.Dir(f.name)]
		if root == "" {
			root = path.Dir(f.name)
		}
		if !seen[root] {
			seen[root] = true
			words = append(words, shellquote.Quote(absolute(root)))
		}
	}
	if len(words) > mostRoots {
		return errors.New("too many file systems")
	}
	line := "sh -c " + shellquote.Quote(`[ "$(uname -s)" = Linux ] && sync -f "$@" && echo synced`) + " sh " + strings.Join(words, " ")
	out, err := fl.host.command(ctx, question{line, 1024, fl.job.opt.Stall})
	if err == nil && strings.TrimSpace(string(out)) != "synced" {
		// An account that is forced to SFTP ends well, whatever the line.
		err = errors.New("the host does not say that it has")
	}
	return err
}

// absolute returns a path that no program takes for an option.
func absolute(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return "./" + name
}

// syncAlone brings one file that is closed to the disk.
func (f *uploadFile) syncAlone() error {
	ch := f.any()
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
