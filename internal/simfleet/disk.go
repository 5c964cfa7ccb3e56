package simfleet

import (
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The file system of a simulated host. It is in memory, and DiskSize bounds all of it, names
// included. It has files, directories and symbolic links with modes and times. It has no owners:
// modes are stored and forbid nothing. Its errors are of type syscall.Errno; SFTP and the shell
// translate them. A ".." is resolved before links are followed.

const (
	// diskSize is the default size of a disk.
	diskSize = 64 << 20
	// nodeSize is what a file takes in addition to its name and content.
	nodeSize = 256
	// nameLimit is NAME_MAX of Linux.
	nameLimit = 255
	// linkLimit is the number of links that one path may lead through.
	linkLimit = 40
)

// disk is a file system. Its methods may be called from any goroutine, with absolute paths.
type disk struct {
	mu sync.Mutex
	// mu protects all nodes, and
	root *node
	left int64
}

// node is a file, a directory or a symbolic link.
type node struct {
	mode             fs.FileMode
	modified, access time.Time
	data             []byte           // of a file
	target           string           // of a link
	children         map[string]*node // of a directory; nil for others
}

func newNode(mode fs.FileMode) *node {
	now := time.Now()
	n := &node{mode: mode, modified: now, access: now}
	if mode.IsDir() {
		n.children = make(map[string]*node)
	}
	return n
}

func newDisk(size int64) *disk {
	d := &disk{root: newNode(fs.ModeDir | 0o755), left: size}
	d.root.children["tmp"] = newNode(fs.ModeDir | fs.ModeSticky | 0o777)
	return d
}

// place is the directory entry that a path leads to.
type place struct {
	dir  *node // nil for the root
	name string
	node *node // nil if there is nothing of that name
}

// find follows a path, and with follow also a link at its end. If only the last name is missing, it
// returns both the place and ENOENT.
func (d *disk) find(name string, follow bool) (place, error) {
	name = path.Clean("/" + name)
	for range linkLimit {
		at, next, err := d.walk(name, follow)
		if next == "" {
			return at, err
		}
		name = next
	}
	return place{}, syscall.ELOOP
}

// walk walks down from the root. At the first link it stops and returns, as next, the path that the
// link leads to.
func (d *disk) walk(name string, follow bool) (at place, next string, err error) {
	at = place{node: d.root}
	rest := strings.TrimPrefix(name, "/")
	for done := "/"; rest != ""; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		switch {
		case at.node == nil:
			return place{}, "", syscall.ENOENT
		case at.node.children == nil:
			return place{}, "", syscall.ENOTDIR
		case len(first) > nameLimit:
			return place{}, "", syscall.ENAMETOOLONG
		}
		at = place{at.node, first, at.node.children[first]}
		if at.node != nil && at.node.target != "" && (rest != "" || follow) {
			target := at.node.target
			if !path.IsAbs(target) {
				target = path.Join(done, target)
			}
			return place{}, path.Join(target, rest), nil
		}
		done = path.Join(done, first)
	}
	if at.node == nil {
		err = syscall.ENOENT
	}
	return at, "", err
}

// add puts a new node at a path that must not exist yet.
func (d *disk) add(name string, n *node) error {
	at, err := d.find(name, false)
	switch {
	case err == nil:
		return syscall.EEXIST
	case at.dir == nil:
		return err
	}
	return d.put(at, n)
}

func (d *disk) put(at place, n *node) error {
	if err := d.take(nodeSize + int64(len(at.name)+len(n.target))); err != nil {
		return err
	}
	at.dir.children[at.name] = n
	at.dir.modified = time.Now()
	return nil
}

// drop removes a node from its directory. A file that is open can still be read and written.
func (d *disk) drop(at place) {
	d.left += nodeSize + int64(len(at.name)+len(at.node.target)+len(at.node.data))
	delete(at.dir.children, at.name)
	at.dir.modified = time.Now()
}

func (d *disk) take(size int64) error {
	if size > d.left {
		return syscall.ENOSPC
	}
	d.left -= size
	return nil
}

// resize truncates a file, or extends it with zeros.
func (d *disk) resize(n *node, size int64) error {
	old := int64(len(n.data))
	if size < 0 {
		return syscall.EINVAL
	}
	if err := d.take(size - old); err != nil {
		return err
	}
	if size > old {
		n.data = slices.Grow(n.data, int(size-old))[:size]
		clear(n.data[old:])
	} else {
		n.data = slices.Clone(n.data[:size])
	}
	n.modified = time.Now()
	return nil
}

func (d *disk) stat(name string, follow bool) (*fileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := d.find(name, follow)
	if err != nil {
		return nil, err
	}
	return at.node.info(path.Base(path.Clean("/" + name))), nil
}

// list returns the entries of a directory, sorted by name.
func (d *disk) list(name string) ([]*fileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := d.find(name, true)
	switch {
	case err != nil:
		return nil, err
	case at.node.children == nil:
		return nil, syscall.ENOTDIR
	}
	var infos []*fileInfo
	for _, child := range slices.Sorted(maps.Keys(at.node.children)) {
		infos = append(infos, at.node.children[child].info(child))
	}
	return infos, nil
}

func (d *disk) mkdir(name string, mode fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.add(name, newNode(fs.ModeDir|mode))
}

// mkdirAll makes a directory and its parents, unless they exist.
func (d *disk) mkdirAll(name string) error {
	name = path.Clean("/" + name)
	if name != "/" {
		if err := d.mkdirAll(path.Dir(name)); err != nil {
			return err
		}
	}
	if info, err := d.stat(name, true); err == nil && info.IsDir() {
		return nil
	}
	return d.mkdir(name, 0o755)
}

func (d *disk) symlink(target, name string) error {
	if target == "" {
		return syscall.ENOENT
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := newNode(fs.ModeSymlink | 0o777)
	n.target = target
	return d.add(name, n)
}

func (d *disk) readlink(name string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := d.find(name, false)
	if err == nil && at.node.target == "" {
		err = syscall.EINVAL
	}
	if err != nil {
		return "", err
	}
	return at.node.target, nil
}

// remove removes a file or a link.
func (d *disk) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := d.find(name, false)
	if err == nil && at.node.children != nil {
		err = syscall.EISDIR
	}
	if err == nil {
		d.drop(at)
	}
	return err
}

// rmdir removes an empty directory.
func (d *disk) rmdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := d.find(name, false)
	switch {
	case err != nil:
		return err
	case at.node.children == nil:
		return syscall.ENOTDIR
	case len(at.node.children) > 0:
		return syscall.ENOTEMPTY
	case at.dir == nil:
		return syscall.EBUSY
	}
	d.drop(at)
	return nil
}

// rename moves a file or directory as rename(2) does: it replaces an existing target.
func (d *disk) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	source, err := d.find(from, false)
	if err != nil {
		return err
	}
	target, err := d.find(to, false)
	switch {
	case source.dir == nil, err != nil && target.dir == nil, err == nil && target.dir == nil:
		return orElse(err, syscall.EBUSY)
	case source.node == target.node:
		return nil
	case strings.HasPrefix(path.Clean("/"+to)+"/", path.Clean("/"+from)+"/"):
		return syscall.EINVAL
	case target.node == nil:
	case source.node.children != nil && target.node.children == nil:
		return syscall.ENOTDIR
	case source.node.children == nil && target.node.children != nil:
		return syscall.EISDIR
	case len(target.node.children) > 0:
		return syscall.ENOTEMPTY
	}
	if target.node != nil {
		d.drop(target)
	}
	delete(source.dir.children, source.name)
	target.dir.children[target.name] = source.node
	d.left += int64(len(source.name) - len(target.name))
	source.dir.modified, target.dir.modified = time.Now(), time.Now()
	return nil
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// open finds a file. If the file does not exist and mode is not 0, open creates it.
func (d *disk) open(name string, mode fs.FileMode) (*node, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := d.find(name, true)
	if err == syscall.ENOENT && at.dir != nil && mode != 0 {
		at.node = newNode(mode.Perm())
		return at.node, d.put(at, at.node)
	}
	if err == nil && at.node.children != nil {
		err = syscall.EISDIR
	}
	return at.node, err
}

// change calls f with the node at a path, after following links.
func (d *disk) change(name string, f func(*node) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := d.find(name, true)
	if err != nil {
		return err
	}
	return f(at.node)
}

func (d *disk) readAt(n *node, p []byte, offset int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if offset < 0 {
		return 0, syscall.EINVAL
	}
	if offset >= int64(len(n.data)) {
		return 0, io.EOF
	}
	read := copy(p, n.data[offset:])
	if read < len(p) {
		return read, io.EOF
	}
	return read, nil
}

func (d *disk) writeAt(n *node, p []byte, offset int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := offset + int64(len(p))
	if offset < 0 || end < 0 {
		return 0, syscall.EINVAL
	}
	if end > int64(len(n.data)) {
		if err := d.resize(n, end); err != nil {
			return 0, err
		}
	}
	n.modified = time.Now()
	return copy(n.data[offset:], p), nil
}

// fileInfo is an fs.FileInfo.
type fileInfo struct {
	name             string
	size             int64
	mode             fs.FileMode
	modified, access time.Time
}

func (n *node) info(name string) *fileInfo {
	size := int64(len(n.data) + len(n.target))
	if n.children != nil {
		size = 4096
	}
	return &fileInfo{name, size, n.mode, n.modified, n.access}
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) Size() int64        { return i.size }
func (i *fileInfo) Mode() fs.FileMode  { return i.mode }
func (i *fileInfo) ModTime() time.Time { return i.modified }
func (i *fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i *fileInfo) Sys() any           { return nil }
