package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// arrival is a file that is on its way to this machine: under a temporary name until it
// is whole.
type arrival struct {
	to    *target
	dir   *openDir
	entry *entry
	name  string // in dir
	there fs.FileInfo
	temp  *temp
	out   *os.File // the temporary file; nil: there is none
}

// expect prepares for a file. What is there already must be one that it may replace. leave
// must be called in the end.
func (t *target) expect(e *entry) (*arrival, error) {
	name := t.name(e.name)
	dir, err := t.dirs.open(t.root, path.Dir(name))
	if err != nil {
		return nil, fileError("create", t.local(e.name), true, err)
	}
	a := &arrival{to: t, dir: dir, entry: e, name: path.Base(name)}
	if there, err := dir.Lstat(a.name); err == nil {
		if m := there.Mode(); !m.IsRegular() && m.Type() != fs.ModeSymlink {
			a.leave()
			return nil, fileError("replace", t.local(e.name), true, errors.New("there is something else: "+kindOf(m)))
		}
		a.there = there
	}
	a.temp = &temp{name: tempName(a.name)}
	return a, nil
}

// leave says that nothing more is done with the file.
func (a *arrival) leave() { a.to.dirs.leave(a.dir) }

// create makes the temporary file, unless there is one.
func (a *arrival) create() (err error) {
	if a.out == nil {
		a.out, err = a.dir.OpenFile(a.temp.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, a.entry.mode.Perm()|ownerBits)
	}
	return a.error("create", notWritable(err, filepath.Dir(a.to.local(a.entry.name)), a.there))
}

// error makes an error of one about the file here.
func (a *arrival) error(op string, err error) error {
	return fileError(op, a.to.local(a.entry.name), true, err)
}

// digestBelow returns the digest of the beginning of a file.
func digestBelow(ctx context.Context, root *os.Root, name string, n int64) (digest, error) {
	file, err := root.Open(name)
	if err != nil {
		return digest{}, err
	}
	defer file.Close()
	return digestReader(ctx, file, n)
}

// verify compares the file with that on the host.
func (a *arrival) verify(ctx context.Context, h *hasher) error {
	info, err := a.out.Stat()
	if err == nil {
		_, err = a.out.Seek(0, io.SeekStart)
	}
	var ours digest
	if err == nil {
		ours, err = digestReader(ctx, a.out, info.Size())
	}
	if err != nil {
		return a.error("verify", err)
	}
	theirs, err := h.digest(ctx, hashed{a.entry.path, a.entry.size, true})
	if err != nil {
		return fileError("verify", a.entry.path, false, err)
	}
	if ours != theirs {
		return a.error("verify", errDiffers)
	}
	return nil
}

// publish gives the file its permissions, times and name. When it gets to the disk is up to
// the operating system here.
func (a *arrival) publish(preserve bool) error {
	if err := a.dress(preserve); err != nil {
		return a.error("set the permissions of", err)
	}
	if err := a.out.Close(); err != nil {
		return a.error("write", err)
	}
	if err := a.dir.Rename(a.temp.name, a.name); err != nil {
		return a.error("rename to", err)
	}
	a.out = nil
	return nil
}

// dress gives the file its permissions and times. What would let others act as its owner
// is not taken from a host.
func (a *arrival) dress(preserve bool) error {
	if preserve {
		if err := a.out.Chmod(a.entry.mode.Perm() | a.entry.mode&fs.ModeSticky); err != nil {
			return err
		}
		return a.dir.Chtimes(a.temp.name, a.entry.mtime, a.entry.mtime)
	}
	if a.there != nil && a.there.Mode().IsRegular() {
		return a.out.Chmod(a.there.Mode().Perm())
	}
	if without := ownerBits &^ a.entry.mode.Perm(); without != 0 {
		info, err := a.out.Stat()
		if err != nil {
			return err
		}
		return a.out.Chmod(info.Mode().Perm() &^ without)
	}
	return nil
}

// abandon removes the temporary file if there is one, unless the copy was broken off and
// another can go on with it.
func (a *arrival) abandon(interrupted bool) {
	if a.out == nil {
		return
	}
	n := a.temp.beginning()
	keep := interrupted && n >= resumable && a.out.Truncate(n) == nil
	a.out.Close()
	if !keep {
		_ = a.dir.Remove(a.temp.name) // it may have its name already
	}
}
