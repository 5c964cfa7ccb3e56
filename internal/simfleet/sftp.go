package simfleet

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/sftp"
)

// serveSFTP is the subsystem "sftp": version 3, like OpenSSH's, with posix-rename but without
// fsync. A new file has the mode 0644 and a new directory 0755, whatever the client asked for,
// until the client sets another mode.
func serveSFTP(s *Session) Status {
	h := &sftpHandlers{s.files("")}
	var out io.Writer = s.Stdout
	if s.conn.fault.Kind == NoExtensions {
		out = &bareVersion{w: out}
	}
	stream := &sftpStream{Reader: s.Stdin, w: out}
	defer stream.Close()
	server := sftp.NewRequestServer(stream,
		sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h}, sftp.WithStartDirectory(h.files.dir))
	if server.Serve() != io.EOF {
		return Status{Code: 255}
	}
	return Status{}
}

// sftpStream is the stream of the SFTP server. The server's goroutines may still write after Serve
// has returned, but x/crypto allows no write while the channel is being closed. So sftpStream
// refuses every write after Close.
type sftpStream struct {
	io.Reader

	mu sync.Mutex
	// mu protects
	w      io.Writer
	closed bool
}

func (s *sftpStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	return s.w.Write(p)
}

// Close waits for a write in progress. Reading ends with the session.
func (s *sftpStream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// bareVersion removes the extensions from SSH_FXP_VERSION, the first packet.
type bareVersion struct {
	w     io.Writer
	begin []byte
	done  bool
}

func (b *bareVersion) Write(p []byte) (int, error) {
	if b.done {
		return b.w.Write(p)
	}
	b.begin = append(b.begin, p...)
	if len(b.begin) < 9 || len(b.begin) < 4+int(binary.BigEndian.Uint32(b.begin)) {
		return len(p), nil
	}
	b.done = true
	rest := b.begin[4+binary.BigEndian.Uint32(b.begin):]
	// SSH_FXP_VERSION with the version alone.
	_, err := b.w.Write(append([]byte{0, 0, 0, 5, 2, 0, 0, 0, 3}, rest...))
	return len(p), err
}

// sftpHandlers implements all four handlers of the server, which calls them concurrently.
type sftpHandlers struct{ files *files }

// Fileread opens a file for reading.
func (h *sftpHandlers) Fileread(r *sftp.Request) (io.ReaderAt, error) { return h.openFile(r) }

// Filewrite opens a file for writing.
func (h *sftpHandlers) Filewrite(r *sftp.Request) (io.WriterAt, error) { return h.openFile(r) }

// OpenFile opens a file for reading and writing.
func (h *sftpHandlers) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) { return h.openFile(r) }

func (h *sftpHandlers) openFile(r *sftp.Request) (*sftpFile, error) {
	flags := r.Pflags()
	mode := fs.FileMode(0)
	if flags.Creat {
		mode = 0o644
	}
	if flags.Creat && flags.Excl {
		if _, err := h.files.stat(r.Filepath, false); err == nil {
			return nil, syscall.EEXIST
		}
	}
	f, err := h.files.openMode(r.Filepath, mode)
	if err != nil {
		return nil, err
	}
	if flags.Trunc {
		err = f.truncate()
	}
	return &sftpFile{f, flags.Append}, err
}

// sftpFile is an open file, possibly in append mode.
type sftpFile struct {
	*file
	appends bool
}

func (f *sftpFile) WriteAt(p []byte, offset int64) (int, error) {
	if f.appends {
		offset = f.end()
	}
	return f.file.WriteAt(p, offset)
}

// Filecmd carries out all requests but reading, writing and listing.
func (h *sftpHandlers) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Setstat":
		return h.files.set(r.Filepath, requested(r))
	case "Mkdir":
		return h.files.mkdir(r.Filepath, 0o755)
	case "Rmdir":
		return h.files.each(r.Filepath, h.files.rmdir)
	case "Remove":
		return h.files.each(r.Filepath, h.files.remove)
	case "Rename":
		// Unlike posix-rename, this does not replace an existing file.
		if _, err := h.files.stat(r.Target, false); err == nil {
			return sftp.ErrSSHFxFailure
		}
		return h.files.both(r.Filepath, r.Target, h.files.rename)
	case "Symlink":
		// The target of a link is stored as it is.
		return h.files.each(r.Target, func(name string) error { return h.files.symlink(r.Filepath, name) })
	}
	return sftp.ErrSSHFxOpUnsupported
}

// requested returns the attributes that a request sets.
func requested(r *sftp.Request) attributes {
	var a attributes
	flags, values := r.AttrFlags(), r.Attributes()
	if flags.Size {
		size := int64(min(values.Size, 1<<62))
		a.size = &size
	}
	if flags.Permissions {
		mode := values.FileMode()
		a.mode = &mode
	}
	if flags.Acmodtime {
		a.modified, a.access = time.Unix(int64(values.Mtime), 0), time.Unix(int64(values.Atime), 0)
	}
	return a
}

// PosixRename renames and replaces.
func (h *sftpHandlers) PosixRename(r *sftp.Request) error {
	if h.files.session.conn.fault.Kind == NoExtensions {
		return sftp.ErrSSHFxOpUnsupported
	}
	return h.files.both(r.Filepath, r.Target, h.files.rename)
}

// RealPath makes a path absolute. The path need not exist.
func (h *sftpHandlers) RealPath(name string) (string, error) { return h.files.path(name) }

// Readlink returns the target of a link.
func (h *sftpHandlers) Readlink(name string) (string, error) {
	name, err := h.files.path(name)
	if err != nil {
		return "", err
	}
	return h.files.readlink(name)
}

// Lstat describes a file without following a link.
func (h *sftpHandlers) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	info, err := h.files.stat(r.Filepath, false)
	return listing{info}, err
}

// Filelist lists a directory, or describes one file if the method is Stat.
func (h *sftpHandlers) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "Stat" {
		info, err := h.files.stat(r.Filepath, true)
		return listing{info}, err
	}
	infos, err := h.files.list(r.Filepath)
	if err != nil {
		return nil, err
	}
	switch h.files.session.conn.fault.Kind {
	case EndlessListing:
		return endlessListing{}, nil
	case HostileNames:
		for _, name := range hostileNames {
			infos = append(infos, hostileFile(name))
		}
	case LongNames:
		infos = append(infos, hostileFile(strings.Repeat("x", longName)))
	}
	return listing(infos), nil
}

// listing holds the entries of a directory.
type listing []*fileInfo

func (l listing) ListAt(infos []os.FileInfo, offset int64) (int, error) {
	n := 0
	for ; n < len(infos) && offset+int64(n) < int64(len(l)); n++ {
		infos[n] = l[offset+int64(n)]
	}
	if n < len(infos) {
		return n, io.EOF
	}
	return n, nil
}

// endlessListing is a directory whose listing never ends.
type endlessListing struct{}

func (endlessListing) ListAt(infos []os.FileInfo, offset int64) (int, error) {
	for i := range infos {
		infos[i] = hostileFile(endlessName(offset + int64(i)))
	}
	return len(infos), nil
}

// longName is the length of the name that LongNames lists.
const longName = 100_000

// hostileNames are names that a client must not use as they are.
var hostileNames = [...]string{"../../evil", "..", ".", "/etc/evil", "a/b", "", "nul\x00byte", "new\nline", "\x1b]0;evil\a", `..\evil`}

func hostileFile(name string) *fileInfo {
	return &fileInfo{name: name, size: int64(len(hostileContent)), mode: 0o644, modified: time.Unix(1_700_000_000, 0)}
}

const hostileContent = "evil\n"

func endlessName(i int64) string { return fmt.Sprintf("endless-%d", i) }
