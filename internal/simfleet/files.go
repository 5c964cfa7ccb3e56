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

// files is the disk of a host as one session sees it: from its directory, and with what goes wrong.
type files struct {
	*disk
	session *Session
	dir     string
}

// files returns the disk as seen from a directory; "" is the user's home, which is made if it is not there.
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

// path is a path that may be relative as an absolute one, or an error if the fault forbids it.
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

// stat is what the host says about a file, which need not be true.
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

// both calls f with two paths.
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

// each calls do with one path.
func (f *files) each(name string, do func(string) error) error {
	name, err := f.path(name)
	if err != nil {
		return err
	}
	return do(name)
}

// set changes mode, times and size, as far as they are given.
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

// attributes are what can be set; zero values are left as they are.
type attributes struct {
	size             *int64
	mode             *fs.FileMode
	modified, access time.Time
}

// file is an open file. Its content goes through the fault of the connection.
type file struct {
	files  *files
	node   *node
	offset int64 // of Read and Write
}

// open opens a file that is there.
func (f *files) open(name string) (*file, error) { return f.openMode(name, 0) }

// create opens a file, which is made if it is not there, and emptied.
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

// end is the offset behind the last byte.
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

// allow counts bytes of files that come or go, and returns how many of them there may still be before the fault, and
// what happens then: the disk is full, the connection is cut, or nothing is answered any more.
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

// complaint is an error in the words of the programs of a host.
func complaint(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
