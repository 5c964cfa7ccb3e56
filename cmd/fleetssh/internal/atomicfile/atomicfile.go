// Package atomicfile writes files that are whole or not there.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// OwnerOnly is the mode of files with what hosts wrote or what was done to them.
const OwnerOnly os.FileMode = 0o600

// Write replaces the file at name, all at once, by one of this mode, less the umask, with what
// write writes. If anything goes wrong, the old file stays as it is. A symbolic link stays one.
// What is not a regular file, such as a pipe, is written to.
func Write(name string, mode os.FileMode, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return writeInto(name, write)
	}
	place := name
	if real, err := filepath.EvalSymlinks(name); err == nil {
		place = real
	}
	next := filepath.Join(filepath.Dir(place), "."+filepath.Base(place)+"."+rand.Text()[:8])
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			_ = os.Remove(next) // the error that led here says more
		}
	}()
	if err := write(file); err != nil {
		return err
	}
	// Of the old file and the new one, a crash that comes right behind this must leave one.
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(next, place)
}

// writeInto writes to what is no file.
func writeInto(name string, write func(io.Writer) error) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return write(file)
}

// Text returns a function that writes a text.
func Text(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}
