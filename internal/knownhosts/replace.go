package knownhosts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// errModified means that another process has written to a file while its replacement was made.
var errModified = errors.New("another process keeps writing to it")

// replaceFile replaces the file at path, or creates it. A symbolic link stays one. The new file
// is on disk before it gets the name: whatever happens, one of the two exists and is complete.
//
// The new file gets the mode and owner of like; if like is nil, only its owner may read it.
// locked, if not nil, is the open file at path, and like its state when it was read: if it has
// been modified since, the error is errModified.
func replaceFile(path, text string, locked *os.File, like os.FileInfo) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is not a regular file", path) // a device must not be replaced
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if like != nil {
		if err := keepOwner(f, like); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := f.Chmod(like.Mode().Perm()); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if locked != nil {
		now, err := locked.Stat()
		if err != nil {
			return err
		}
		if now.Size() != like.Size() || !now.ModTime().Equal(like.ModTime()) {
			return errModified
		}
		if runtime.GOOS == "windows" {
			locked.Close() // an open file cannot be replaced
		}
	}
	return os.Rename(f.Name(), path)
}
