package simfleet

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"net"
	"path"
	"strings"
	"syscall"
	"time"
)

// files is the disk of a host as one session sees it: relative to a directory, and with the
// connection's fault.
type files struct {
	*disk
	session *Session
	dir     string
}

// files returns the disk as seen from a directory; "" means the user's home, which is created if
// necessary.
func (s *Session) files(dir string) *files {
	f := &files{s.Server.disk, s, dir}
	if dir == "" {
		f.dir = home(s.User)
	}
	f.mkdirAll(home(s.User))
	return f
}

func home(user string) string {
	if user == "root" {
		return "/root"
	}
	return path.Clean("/home/" + user)
}

// path makes a path absolute. It returns an error if the fault denies the path.
func (f *files) path(name string) (string, error) {
	if !path.IsAbs(name) {
		name = path.Join(f.dir, name)
	}
	name = path.Clean(name)
	fault := f.session.conn.fault
	if denied := path.Clean("/" + fault.Path); fault.Kind == DenyPath && (denied == "/" || strings.HasPrefix(name+"/", denied+"/")) {
		return "", syscall.EACCES
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", syscall.EINVAL
	}
	return name, nil
}

// stat returns what the host says about a file. With WrongSize, that is not true.
func (f *files) stat(name string, follow bool) (*fileInfo, error) {
	name, err := f.path(name)
	if err != nil {
		return nil, err
	}
	info, err := f.disk.stat(name, follow)
	if err != nil {
		return nil, err
	}
	return f.distort(info), nil
}

func (f *files) distort(info *fileInfo) *fileInfo {
	if f.session.conn.fault.Kind == WrongSize && info.mode.IsRegular() {
		info.size = max(0, info.size+int64(cmp.Or(f.session.conn.fault.Bytes, 1)))
	}
	return info
}

func (f *files) list(name string) ([]*fileInfo, error) {
	name, err := f.path(name)
	if err != nil {
		return nil, err
	}
	infos, err := f.disk.list(name)
	for _, info := range infos {
		f.distort(info)
	}
	return infos, err
}

func (f *files) mkdir(name string, mode fs.FileMode) error {
	name, err := f.path(name)
	if err != nil {
		return err
	}
	return f.disk.mkdir(name, mode)
}

// both calls do with two absolute paths.
func (f *files) both(from, to string, do func(from, to string) error) error {
	from, err := f.path(from)
	if err != nil {
		return err
	}
	if to, err = f.path(to); err != nil {
		return err
	}
	return do(from, to)
}

// each calls do with one absolute path.
func (f *files) each(name string, do func(string) error) error {
	name, err := f.path(name)
	if err != nil {
		return err
	}
	return do(name)
}

// set changes the attributes that are not zero.
func (f *files) set(name string, a attributes) error {
	return f.each(name, func(name string) error {
		return f.change(name, func(n *node) error {
			if a.size != nil {
				if n.children != nil {
					return syscall.EISDIR
				}
				if err := f.resize(n, *a.size); err != nil {
					return err
				}
			}
			if a.mode != nil {
				const keep = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
				n.mode = n.mode&^keep | *a.mode&keep
			}
			if !a.modified.IsZero() {
				n.modified, n.access = a.modified, a.access
			}
			return nil
		})
	})
}

// attributes are the attributes of a file that can be set; zero values mean no change.
type attributes struct {
	size             *int64
	mode             *fs.FileMode
	modified, access time.Time
}

// file is an open file. The connection's fault applies to its content.
type file struct {
	files  *files
	node   *node
	offset int64 // for Read and Write
}

// open opens an existing file.
func (f *files) open(name string) (*file, error) { return f.openMode(name, 0) }

// create opens a file for writing. It creates or truncates the file.
func (f *files) create(name string, mode fs.FileMode) (*file, error) {
	opened, err := f.openMode(name, mode|0o200)
	if err == nil {
		err = opened.truncate()
	}
	return opened, err
}

func (f *files) openMode(name string, mode fs.FileMode) (*file, error) {
	name, err := f.path(name)
	if err != nil {
		return nil, err
	}
	n, err := f.disk.open(name, mode)
	if err != nil {
		return nil, err
	}
	return &file{files: f, node: n}, nil
}

func (f *file) truncate() error {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	return f.files.resize(f.node, 0)
}

// end returns the offset after the last byte.
func (f *file) end() int64 {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	return int64(len(f.node.data))
}

func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.files.readAt(f.node, p, offset)
	if fault := f.files.session.conn.fault; fault.Kind == StallFile || fault.stopsReading() {
		allowed, stalled := f.files.session.allow(n)
		if stalled != nil {
			return allowed, stalled
		}
	}
	return n, err
}

func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	allowed, failed := f.files.session.allow(len(p))
	n, err := f.files.writeAt(f.node, p[:allowed], offset)
	if err == nil {
		err = failed
	}
	return n, err
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.offset)
	f.offset += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.offset)
	f.offset += int64(n)
	return n, err
}

// allow counts n bytes of files that are read or written, and carries out the faults that depend on
// this count. It returns how many of the n bytes come before the fault, and the error after them.
func (s *Session) allow(n int) (int, error) {
	c := s.conn
	switch {
	case c.fault.Kind == DiskFull, c.fault.Kind == CutUpload, c.fault.Kind == StallFile:
	case c.fault.stopsReading() && c.fault.phase() == PhaseFile:
	default:
		return n, nil
	}
	end := c.copied.Add(int64(n))
	if end <= int64(c.fault.Bytes) {
		return n, nil
	}
	allowed := int(max(0, int64(n)-(end-int64(c.fault.Bytes))))
	switch c.fault.Kind {
	case DiskFull:
		return allowed, syscall.ENOSPC
	case CutUpload:
		c.reset()
	case StallFile:
		c.deaf.Store(true)
		c.mute.Store(true)
		<-s.Done()
	case StopReading, StopReadingTrickle:
		c.reached(PhaseFile)
		<-s.Done()
	}
	return allowed, net.ErrClosed
}

// errorText returns the error as the host's programs print it.
func errorText(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
