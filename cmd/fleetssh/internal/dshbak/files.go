package dshbak

import (
	"bytes"
	"errors"
	"os"

	"fleetssh/cmd/fleetssh/internal/selection"
)

// Files writes what each host wrote into a file of its own. Names of hosts come from anywhere: none
// of them leads to a file outside the directory.
type Files struct {
	root     *os.Root
	files    map[string]*file // by their names
	buffered int
}

// file is the file of one host.
type file struct {
	bytes.Buffer      // what is not yet written
	created      bool // the file is made anew
}

// NewFiles returns a sink that writes files in root, and closes root in the end.
func NewFiles(root *os.Root) *Files {
	return &Files{root: root, files: make(map[string]*file)}
}

// Line implements [Sink]. It writes to files only now and then.
func (b *Files) Line(host string, text []byte) error {
	name := selection.FileName(host)
	f := b.files[name]
	if f == nil {
		if len(b.files) == maxHosts {
			return tooManyHosts()
		}
		f = new(file)
		b.files[name] = f
	}
	f.Write(text)
	f.WriteByte('\n')
	if b.buffered += len(text) + 1; b.buffered < bufferLimit {
		return nil
	}
	return b.End()
}

// End implements [Sink]. It writes the lines that wait, with one open file at a time.
func (b *Files) End() error {
	for name, f := range b.files {
		if f.Len() == 0 {
			continue
		}
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if f.created {
			flags = os.O_WRONLY | os.O_APPEND
		}
		file, err := b.root.OpenFile(name, flags, 0o666)
		if err != nil {
			return err
		}
		_, err = f.WriteTo(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		f.created = true
		f.Buffer = bytes.Buffer{} // not kept: there may be many
	}
	b.buffered = 0
	return nil
}

// Close implements [Sink].
func (b *Files) Close() error { return b.root.Close() }
