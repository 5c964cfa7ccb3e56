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

// partialFile is a local file that is being downloaded. It has a temporary name until it is complete.
type partialFile struct {
	to       *target
	dir      *cachedDir
	entry    *entry
	name     string      // in dir
	existing fs.FileInfo // the file that it replaces; nil: none
	temp     *temp
	out      *os.File // the temporary file; nil: not created yet
}

// newPartialFile prepares the download of a file, but creates nothing yet. It fails if something that
// a file may not replace has its name. The caller must call release.
func (t *target) newPartialFile(e *entry) (*partialFile, error) {
	name := t.name(e.name)
	dir, err := t.dirs.open(t.root, path.Dir(name))
	if err != nil {
		return nil, fileError("create", t.local(e.name), true, err)
	}
	f := &partialFile{to: t, dir: dir, entry: e, name: path.Base(name)}
	if existing, err := dir.Lstat(f.name); err == nil {
		if m := existing.Mode(); !m.IsRegular() && m.Type() != fs.ModeSymlink {
			f.release()
			return nil, fileError("replace", t.local(e.name), true, errors.New("there is something else: "+kindOf(m)))
		}
		f.existing = existing
	}
	f.temp = &temp{name: tempName(f.name)}
	return f, nil
}

// release ends the use of the file's directory.
func (f *partialFile) release() { f.to.dirs.release(f.dir) }

// create creates the temporary file unless it exists.
func (f *partialFile) create() (err error) {
	if f.out == nil {
		f.out, err = f.dir.OpenFile(f.temp.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, f.entry.mode.Perm()|ownerBits)
	}
	return f.error("create", explainPermission(err, filepath.Dir(f.to.local(f.entry.name)), f.existing))
}

// error returns err as an error about the local file.
func (f *partialFile) error(op string, err error) error {
	return fileError(op, f.to.local(f.entry.name), true, err)
}

// digestBelow returns the digest of the first n bytes of a file below root.
func digestBelow(ctx context.Context, root *os.Root, name string, n int64) (digest, error) {
	file, err := root.Open(name)
	if err != nil {
		return digest{}, err
	}
	defer file.Close()
	return digestReader(ctx, file, n)
}

// verify compares the checksum with the one on the host.
func (f *partialFile) verify(ctx context.Context, h *hasher) error {
	info, err := f.out.Stat()
	if err == nil {
		_, err = f.out.Seek(0, io.SeekStart)
	}
	var ours digest
	if err == nil {
		ours, err = digestReader(ctx, f.out, info.Size())
	}
	if err != nil {
		return f.error("verify", err)
	}
	theirs, err := h.digest(ctx, hashed{f.entry.path, f.entry.size, true})
	if err != nil {
		return fileError("verify", f.entry.path, false, err)
	}
	if ours != theirs {
		return f.error("verify", errChecksum)
	}
	return nil
}

// publish gives the file its permissions, times and name. It does not sync: on this machine the
// operating system decides when data is written to disk.
func (f *partialFile) publish(preserve bool) error {
	if err := f.setAttributes(preserve); err != nil {
		return f.error("set the permissions of", err)
	}
	if err := f.out.Close(); err != nil {
		return f.error("write", err)
	}
	if err := f.dir.Rename(f.temp.name, f.name); err != nil {
		return f.error("rename to", err)
	}
	f.out = nil
	return nil
}

// setAttributes sets the permissions and times. Set-user-ID and set-group-ID bits are never taken
// from a host.
func (f *partialFile) setAttributes(preserve bool) error {
	if preserve {
		if err := f.out.Chmod(f.entry.mode.Perm() | f.entry.mode&fs.ModeSticky); err != nil {
			return err
		}
		return f.dir.Chtimes(f.temp.name, f.entry.mtime, f.entry.mtime)
	}
	if f.existing != nil && f.existing.Mode().IsRegular() {
		return f.out.Chmod(f.existing.Mode().Perm())
	}
	if without := ownerBits &^ f.entry.mode.Perm(); without != 0 {
		info, err := f.out.Stat()
		if err != nil {
			return err
		}
		return f.out.Chmod(info.Mode().Perm() &^ without)
	}
	return nil
}

// abandon removes the temporary file if it still exists. If the copy was interrupted and the file is
// large enough, it stays for Resume.
func (f *partialFile) abandon(interrupted bool) {
	if f.out == nil {
		return
	}
	n := f.temp.prefixSize()
	keep := interrupted && n >= resumable && f.out.Truncate(n) == nil
	f.out.Close()
	if !keep {
		_ = f.dir.Remove(f.temp.name) // fails if the file has its own name already
	}
}
