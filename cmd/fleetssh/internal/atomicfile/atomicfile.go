// Package atomicfile replaces files atomically.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// OwnerOnly is the mode of files that only their owner may read, such as records of runs.
const OwnerOnly os.FileMode = 0o600

// Write replaces the file at name atomically with what write writes, with this mode less the umask.
// On error the old file is unchanged. A symbolic link is followed. A file that is not regular, such
// as a pipe, is written to directly.
func Write(name string, mode os.FileMode, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return writeInto(name, write)
	}
	target := name
	if real, err := filepath.EvalSymlinks(name); err == nil {
		target = real
	}
	next := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+"."+rand.Text()[:8])
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			_ = os.Remove(next) // the first error says more
		}
	}()
	if err := write(file); err != nil {
		return err
	}
	// After a crash, either the old file or the new one must be complete.
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(next, target)
}

// writeInto writes to a file that is not regular.
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
