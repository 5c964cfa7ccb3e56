package dshbak

import (
	"bytes"
	"errors"
	"os"

	"fleetssh/cmd/fleetssh/internal/selection"
)

// Files writes the output of each host to a file of its own. Host names come from the input; none
// of them leads to a file outside the directory.
type Files struct {
	root     *os.Root
	files    map[string]*file // by their names
	buffered int
}

// file is the file of one host.
type file struct {
	bytes.Buffer      // not yet written
	created      bool // the file was created by us
}

// NewFiles returns a sink that writes files in root, and closes root at the end.
func NewFiles(root *os.Root) *Files {
	return &Files{root: root, files: make(map[string]*file)}
}

// Line implements [Sink]. It buffers lines.
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

// End implements [Sink]. It writes the buffered lines, with one open file at a time.
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
