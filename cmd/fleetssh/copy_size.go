package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// measure returns how many bytes each host is to be sent, as far as that can be seen here. It
// ends early, with nil, when stopped is closed.
func (p *copyPlan) measure(stopped <-chan struct{}) []int64 {
	sizes := make([]int64, len(p.hosts))
	known := make(map[string]int64)
	for i := range p.hosts {
		sources, _, err := p.paths(i)
		if err != nil {
			return nil
		}
		for _, source := range sources {
			size, ok := known[source]
			if !ok {
				if size, err = sizeOf(source, stopped); err != nil {
					return nil
				}
				known[source] = size
			}
			sizes[i] += size
		}
	}
	return sizes
}

var errStopped = errors.New("stopped")

// sizeOf returns the bytes of a file, or of all files below a directory.
func sizeOf(source string, stopped <-chan struct{}) (int64, error) {
	var size int64
	// The source itself may be a link; those below a directory are copied as links.
	if info, err := os.Stat(source); err == nil && info.Mode().IsRegular() {
		return info.Size(), nil
	}
	err := filepath.WalkDir(filepath.Clean(source)+string(filepath.Separator), func(_ string, entry fs.DirEntry, err error) error {
		select {
		case <-stopped:
			return errStopped
		default:
		}
		if err != nil {
			return nil // the copy says what is wrong with it
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	return size, err
}
