package krl

import "sync"

// Files reads each file once for all hosts. The zero value is ready for use, by many
// goroutines.
type Files struct {
	mu   sync.Mutex // protects read
	read map[string]func() (*List, error)
}

// Read returns the list in a file. The first call reads the file, and others wait for it.
func (f *Files) Read(file string) (*List, error) {
	f.mu.Lock()
	read := f.read[file]
	if read == nil {
		read = sync.OnceValues(func() (*List, error) { return ReadFile(file) })
		if f.read == nil {
			f.read = make(map[string]func() (*List, error))
		}
		f.read[file] = read
	}
	f.mu.Unlock()
	return read()
}
