package fold

import (
	"errors"
	"os"
	"runtime"
)

// memory is how many bytes of lines are kept in memory; more goes to a file
// without a name.
const memory = 32 << 20

// text keeps the lines of the tree. Each is kept once, however many hosts wrote it.
type text struct {
	limit int64
	held  int64
	file  *os.File // nil: all is in memory
	size  int64    // of the file
}

// line is one line that is kept: in memory, or in the file.
type line struct {
	text   string
	offset int64 // in the file, from 1; 0: in memory
	length int
}

// keep keeps a line.
func (t *text) keep(s string) (line, error) {
	if t.file == nil && t.held+int64(len(s)) <= t.limit || len(s) == 0 {
		t.held += int64(len(s))
		return line{text: s, length: len(s)}, nil
	}
	if t.file == nil {
		if err := t.spill(); err != nil {
			return line{}, err
		}
	}
	if _, err := t.file.WriteAt([]byte(s), t.size); err != nil {
		return line{}, err
	}
	t.size += int64(len(s))
	return line{offset: t.size - int64(len(s)) + 1, length: len(s)}, nil
}

// spill makes the file.
func (t *text) spill() (err error) {
	if t.file, err = os.CreateTemp("", "fleetssh-fold-"); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // a file that is open cannot be removed there; close does
	}
	return os.Remove(t.file.Name())
}

// get returns a line that was kept.
func (t *text) get(l line) (string, error) {
	if l.offset == 0 {
		return l.text, nil
	}
	buf := make([]byte, l.length)
	if _, err := t.file.ReadAt(buf, l.offset-1); err != nil {
		return "", err
	}
	return string(buf), nil
}

// close forgets all lines.
func (t *text) close() error {
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	if runtime.GOOS == "windows" {
		err = errors.Join(err, os.Remove(t.file.Name()))
	}
	t.file = nil
	return err
}
