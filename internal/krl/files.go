package krl

import "sync"

// Files are the files that have been read, each once for all hosts. The zero value is ready
// for use, by many goroutines.
type Files struct {
	mu   sync.Mutex // protects read
	read map[string]func() (*List, error)
}

// Read reads a file, if that has not been done. Others who ask for it meanwhile wait.
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
