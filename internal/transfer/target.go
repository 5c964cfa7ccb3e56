package transfer

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// target is the local destination of a tree or file. Nothing is written outside root, whatever names
// and links it meets.
type target struct {
	root *os.Root
	dir  string // of root
	top  string // the name of the copy below root; "." for root itself
	dirs dirCache
}

// newTarget returns the destination of a source. It is below dest if dest is a directory, ends with a
// slash, or into is set, and dest itself otherwise.
func newTarget(dest, base string, into bool) (*target, error) {
	into = into || dest == "" || os.IsPathSeparator(dest[len(dest)-1])
	if info, err := os.Stat(dest); err == nil && info.IsDir() {
		into = true
	}
	dir, top := dest, base
	if dest == "" {
		dir = "."
	}
	if !into {
		// Like scp, follow a symbolic link that the user has named.
		if _, err := os.Readlink(dest); err == nil {
			if to, err := filepath.EvalSymlinks(dest); err == nil {
				dest = to
			}
		}
		dir, top = filepath.Split(filepath.Clean(dest))
		if dir == "" {
			dir = "."
		}
	}
	if top == "" || base == "" {
		if !into { // "dir/." goes to dest itself
			dir = dest
		}
		top = "."
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fileError("create", dir, true, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fileError("open", dir, true, err)
	}
	return &target{root: root, dir: dir, top: top}, nil
}

func (t *target) close() {
	t.dirs.close()
	t.root.Close()
}

// name returns the path of an entry, relative to root.
func (t *target) name(entry string) string { return path.Join(t.top, entry) }

// local returns the path of an entry, for messages.
func (t *target) local(entry string) string { return filepath.Join(t.dir, t.top, entry) }

// localDir is a local directory and the names it contained before the copy.
type localDir struct {
	made  bool
	names []string
}

// prepareDir makes a directory, or lists it if it exists.
func (t *target) prepareDir(e *entry) (*localDir, error) {
	name := t.name(e.name)
	err := t.root.Mkdir(name, e.mode.Perm()|0o700)
	if err == nil {
		return &localDir{made: true}, nil
	}
	if info, statErr := t.root.Lstat(name); statErr != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, errors.New("there is something else: " + kindOf(info.Mode()))
	}
	return &localDir{names: t.readNames(e.name)}, nil
}

// readNames returns the names in the directory of an entry, or next to it if it is a file.
func (t *target) readNames(entry string) []string {
	name := t.name(entry)
	if info, err := t.root.Lstat(name); err != nil || !info.IsDir() {
		name = path.Dir(name)
	}
	dir, err := t.root.Open(name)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // on an error, the names read so far have to do
	return names
}

// link makes a symbolic link. It replaces whatever has its name, except a directory.
func (t *target) link(to, entry string) error {
	name := t.name(entry)
	if info, err := t.root.Lstat(name); err == nil && info.IsDir() {
		return errors.New("there is something else: " + kindOf(info.Mode()))
	}
	temp := path.Join(path.Dir(name), tempName(path.Base(name)))
	if err := t.root.Symlink(to, temp); err != nil {
		return err
	}
	err := t.root.Rename(temp, name)
	if err != nil {
		_ = t.root.Remove(temp)
	}
	return err
}

// deleteExtra removes what the directories contained and the tree does not.
func (t *target) deleteExtra(r *recorder, entries []entry, inside map[string]*localDir) {
	wanted := make(map[string]bool, len(entries))
	for i := range entries {
		wanted[entries[i].name] = true
	}
	for dir, was := range inside {
		for _, name := range was.names {
			if full := joinName(dir, name); !wanted[full] {
				t.remove(r, full)
			}
		}
	}
}

// remove removes a file or directory with its content.
func (t *target) remove(r *recorder, entry string) {
	name := t.name(entry)
	info, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return // a partial file that the copy has resumed
	}
	if err == nil && info.IsDir() {
		for _, inner := range t.readNames(entry) {
			t.remove(r, joinName(entry, inner))
		}
	}
	if err == nil {
		err = t.root.Remove(name)
	}
	if err != nil {
		r.failed(t.local(entry), fileError("remove", t.local(entry), true, err))
		return
	}
	r.deleted()
}

// finishDirs sets the permissions and times of directories, the deepest first.
func (t *target) finishDirs(r *recorder, entries []entry, dirs []int, inside map[string]*localDir, preserve bool) {
	for i := len(dirs) - 1; i >= 0; i-- {
		e := &entries[dirs[i]]
		dir := inside[e.name]
		if dir == nil || !dir.made && !preserve {
			continue
		}
		name := t.name(e.name)
		var err error
		if preserve {
			if err = t.root.Chmod(name, e.mode.Perm()|e.mode&fs.ModeSticky); err == nil {
				err = t.root.Chtimes(name, e.mtime, e.mtime)
			}
		} else if e.mode.Perm()&0o700 != 0o700 {
			var info fs.FileInfo
			if info, err = t.root.Lstat(name); err == nil {
				err = t.root.Chmod(name, info.Mode().Perm()&(e.mode.Perm()|0o077))
			}
		}
		if err != nil {
			r.failed(t.local(e.name), fileError("set the permissions of", t.local(e.name), true, err))
		}
	}
}
