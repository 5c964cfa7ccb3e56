package knownhosts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// errGrown means that a file was written to while another one was made for its place.
var errGrown = errors.New("somebody else keeps writing to it")

// writeWhole puts a file with this text in the place of the one at path, if there is
// one. A symbolic link stays one. The new file is on the disk before it has the name:
// whatever happens, one of the two is there in whole.
//
// like is the file whose mode and owner the new one is to have; nil means that only
// the owner may read it. locked, if not nil, is the open file at path, as it was when
// like was read: if it has grown since, the error is errGrown.
func writeWhole(path, text string, locked *os.File, like os.FileInfo) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is not a regular file", path) // and nothing takes the place of a device
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
			return errGrown
		}
		if runtime.GOOS == "windows" {
			locked.Close() // no file can take the place of one that is open
		}
	}
	return os.Rename(f.Name(), path)
}
