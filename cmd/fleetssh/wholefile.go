package main

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// forOwner is the mode of files with what hosts wrote or what was done to them.
const forOwner os.FileMode = 0o600

// writeWhole puts a file of this mode, less the umask, with what write writes, in the place of
// the one at name, all at once: if anything goes wrong, the file that is there stays as it is. A
// symbolic link stays one. What is no file, such as a pipe, is written to.
func writeWhole(name string, mode os.FileMode, write func(io.Writer) error) (err error) {
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
			_ = os.Remove(next) // a leftover, at worst
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

// writeAll returns what writes a text.
func writeAll(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}
