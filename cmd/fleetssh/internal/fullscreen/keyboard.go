package fullscreen

import "os"

// keyboard is the terminal that keys come from. The program would not notice that the terminal is gone: it
// stops to read, and waits for other events.
type keyboard struct {
	*os.File
	gone func() // is called after a read that fails
}

// Read implements [io.Reader].
func (k keyboard) Read(p []byte) (int, error) {
	n, err := k.File.Read(p)
	if err != nil {
		k.gone()
	}
	return n, err
}
