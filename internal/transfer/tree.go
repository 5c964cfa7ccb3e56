package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// entry is a file, directory or symbolic link of a source.
type entry struct {
	name  string // relative to the top, with slashes; "" for the top
	path  string // its path, on this machine for an upload and on the host for a download
	mode  fs.FileMode
	size  int64
	mtime time.Time
	link  string // the target of a symbolic link

	content []byte // a snapshot of a local file whose size is wrong; nil: read the file
}

// tree is the listing of one source. Directories come before their content.
type tree struct {
	base    string // the name of the top
	entries []entry
	failed  []*Error // entries that could not be listed
}

func (t *tree) isDir() bool { return t.entries[0].mode.IsDir() }

// files returns the number of files and their total size.
func (t *tree) files() (n int, bytes int64) {
	for i := range t.entries {
		if e := &t.entries[i]; e.mode.IsRegular() {
			n++
			bytes += e.size
		}
	}
	return n, bytes
}

// sharedTree is a local tree, listed once for all hosts.
type sharedTree struct {
	once sync.Once
	tree *tree
	err  error
}

// localTree lists a local source.
func (j *Job) localTree(path string) (*tree, error) {
	j.mu.Lock()
	shared := j.trees[path]
	if shared == nil {
		shared = new(sharedTree)
		j.trees[path] = shared
	}
	j.mu.Unlock()
	shared.once.Do(func() { shared.tree, shared.err = j.listLocal(path) })
	return shared.tree, shared.err
}

// Why a source is not copied.
var (
	errIsDir      = error(syscall.EISDIR)
	errNotRegular = errors.New("not a regular file, directory or symbolic link")
)

// listLocal lists a local file or tree. Like scp, it follows a symbolic link at the top. Links below
// it are copied as links.
func (j *Job) listLocal(path string) (*tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Error{Op: "open", Path: path, Local: true, Err: reasonOf(err)}
	}
	t := &tree{base: baseOf(path)}
	top := entry{path: path, mode: info.Mode(), size: info.Size(), mtime: info.ModTime()}
	if err := j.snapshots.capture(&top, info); err != nil {
		return nil, &Error{Op: "read", Path: path, Local: true, Err: err}
	}
	t.entries = append(t.entries, top)
	switch {
	case info.Mode().IsRegular():
		return t, nil
	case !info.IsDir():
		return nil, &Error{Op: "open", Path: path, Local: true, Err: errNotRegular}
	case !j.opt.Recursive:
		return nil, &Error{Op: "open", Path: path, Local: true, Err: errIsDir}
	}
	t.walk(&j.snapshots, path, "")
	return t, nil
}

// walk lists the content of a directory.
func (t *tree) walk(snapshots *snapshots, dir, name string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		t.fail("list", dir, err)
	}
	for _, d := range list {
		e := entry{name: joinName(name, d.Name()), path: filepath.Join(dir, d.Name())}
		info, err := d.Info()
		if err != nil {
			t.fail("open", e.path, err)
			continue
		}
		e.mode, e.size, e.mtime = info.Mode(), info.Size(), info.ModTime()
		switch {
		case e.mode.Type() == fs.ModeSymlink:
			if e.link, err = os.Readlink(e.path); err != nil {
				t.fail("open", e.path, err)
				continue
			}
		case !e.mode.IsRegular() && !e.mode.IsDir():
			t.fail("open", e.path, errNotRegular)
			continue
		}
		if err := snapshots.capture(&e, info); err != nil {
			t.fail("read", e.path, err)
			continue
		}
		t.entries = append(t.entries, e)
		if e.mode.IsDir() {
			t.walk(snapshots, e.path, e.name)
		}
	}
}

func (t *tree) fail(op, path string, err error) {
	t.failed = append(t.failed, &Error{Op: op, Path: path, Local: true, Err: reasonOf(err)})
}

func joinName(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// baseOf returns the name that the copy of a source gets. It is "" for sources like "." and "dir/.",
// whose content is copied.
func baseOf(path string) string {
	last := filepath.Base(path)
	end := len(path) - 1
	if path == "" || last == "." || last == ".." || last == string(filepath.Separator) ||
		end > 0 && path[end] == '.' && os.IsPathSeparator(path[end-1]) {
		return ""
	}
	return last
}

// reasonOf strips the operation and path from an error of package os, since Error adds its own.
func reasonOf(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// each calls work with 0 to n-1, in at most at goroutines, until ctx ends. It returns when all calls
// have returned.
func each(ctx context.Context, at, n int, work func(i int)) {
	if at = min(at, n); at <= 1 {
		for i := 0; i < n && ctx.Err() == nil; i++ {
			work(i)
		}
		return
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for i := range next {
				work(i)
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
}
