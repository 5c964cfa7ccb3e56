package simfleet

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// ReadFile returns the content of a file of the host. The path is absolute. Faults do not affect
// this method, nor the other methods for files.
func (s *Server) ReadFile(name string) ([]byte, error) {
	n, err := s.disk.open(name, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", name, s.Name(), err)
	}
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return bytes.Clone(n.data), nil
}

// WriteFile writes a file of the host, and makes its parent directories. A mode of 0 means 0644.
func (s *Server) WriteFile(name string, content []byte, mode fs.FileMode) error {
	if mode == 0 {
		mode = 0o644
	}
	err := s.disk.mkdirAll(path.Dir(path.Clean("/" + name)))
	var n *node
	if err == nil {
		n, err = s.disk.open(name, mode)
	}
	if err == nil {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		n.mode = mode.Perm()
		if err = s.disk.resize(n, int64(len(content))); err == nil {
			copy(n.data, content)
		}
	}
	if err != nil {
		return fmt.Errorf("write %s of %s: %w", name, s.Name(), err)
	}
	return nil
}

// MkdirAll makes a directory of the host and its parents, unless they exist.
func (s *Server) MkdirAll(name string) error {
	if err := s.disk.mkdirAll(name); err != nil {
		return fmt.Errorf("make the directory %s of %s: %w", name, s.Name(), err)
	}
	return nil
}

// Stat describes a file of the host. It does not follow links.
func (s *Server) Stat(name string) (fs.FileInfo, error) {
	info, err := s.disk.stat(name, false)
	if err != nil {
		return nil, fmt.Errorf("stat %s of %s: %w", name, s.Name(), err)
	}
	return info, nil
}

// FileNames returns the paths of all files, links and directories of the host, sorted. Paths of
// directories end with "/".
func (s *Server) FileNames() []string {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.root.names("/", nil)
}

// names appends the paths of everything in the directory dir.
func (n *node) names(dir string, names []string) []string {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[name]
		if child.children == nil {
			names = append(names, dir+name)
			continue
		}
		names = append(names, dir+name+"/")
		names = child.names(dir+name+"/", names)
	}
	return names
}
