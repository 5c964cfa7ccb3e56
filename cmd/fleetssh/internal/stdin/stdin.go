// Package stdin knows the standard input of hosts: it is checked before any host is contacted, and read
// again for each batch.
package stdin

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Open opens a file, or for "-" the standard input of the program.
func Open(name string, own io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(own), Check(own)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if err := Check(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Check fails before any host is contacted if the input cannot be read. Otherwise every host would
// start, and be stopped.
func Check(in io.Reader) error {
	file, ok := in.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "read", Path: file.Name(), Err: syscall.EISDIR}
	}
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return nil
}

// Rewind makes an input be read from its start, for another run. A nil input stays as it is.
func Rewind(in io.Reader) error {
	if in == nil {
		return nil
	}
	seeker, ok := in.(io.Seeker)
	if !ok {
		return fmt.Errorf("standard input cannot be read again")
	}
	if _, err := seeker.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("standard input cannot be read again: %w", err)
	}
	return nil
}

// Batches supplies the same standard input to every batch.
type Batches struct {
	in   io.Reader // for the only batch
	file *os.File  // for several
}

// ForBatches returns the standard input for a number of batches. For several, it copies the input to a
// temporary file first. in may be nil: there is none.
func ForBatches(in io.Reader, batches int) (*Batches, error) {
	if in == nil || batches == 1 {
		return &Batches{in: in}, nil
	}
	file, err := os.CreateTemp("", "fleetssh-stdin-")
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	b := &Batches{file: file}
	if _, err := io.Copy(file, in); err != nil {
		b.Close()
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return b, nil
}

// Reader returns the input from its start, nil if there is none.
func (b *Batches) Reader() (io.Reader, error) {
	if b.file == nil {
		return b.in, nil
	}
	info, err := b.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return io.NewSectionReader(b.file, 0, info.Size()), nil
}

// Close removes the temporary file.
func (b *Batches) Close() {
	if b.file != nil {
		b.file.Close()
		_ = os.Remove(b.file.Name()) // a failure leaves a file in the system's temporary directory
	}
}
