// Package knownhosts knows the known_hosts file format: it reads such files,
// tells whether they vouch for the key of a host, which host key algorithms to
// ask a host for, and adds hosts to them.
//
// # Rules
//
// They are those of OpenSSH 9.2, found out by experiment.
//
//   - A host is looked up as [host]:port if the port is not 22, and as host if
//     no line without marker is found for that. Patterns are matched against
//     the whole name, so that * matches [host]:port.
//   - A line of another name that lists another key makes a key changed; a
//     line found by the plain name only never does: the host is unknown then.
//   - The type of a key plays no part in this: a host known by an RSA key has
//     changed if it shows an Ed25519 key. See [KeyError.Retry].
//   - A certificate is good if an authority listed for the host signed it, and
//     it names the host, without port. Where it is not, the key in it counts
//     as if the host had shown just the key.
//   - The key of an authority is not a host key.
//   - A line that cannot be read is skipped, and the others count.
//
// It differs on purpose in these points.
//
//   - A @revoked line for host counts for [host]:port too, even if another line
//     lists the key for [host]:port. OpenSSH does not look at it then, and adds
//     a revoked key with StrictHostKeyChecking=accept-new.
//   - A bad certificate of a listed authority is not accepted as a new host.
//   - Wildcards in the names of a certificate count, as from OpenSSH 10.3 on. A
//     certificate without names is good for every host, as before 10.3.
package knownhosts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// The limits of what is read. Beyond them a line is skipped and a file refused.
const (
	maxFile    = 256 << 20
	maxLine    = 1 << 20
	maxSkipped = 100 // remembered for Skipped
)

// A DB is a set of known_hosts files, read once and indexed. The zero DB is
// empty and ready for use. All methods may be called at the same time.
type DB struct {
	// Hash makes Add hash the names of hosts, as ssh-keygen -H does. It must be set
	// before the first call of it.
	Hash bool

	adding sync.Mutex // held by Add for its whole length; never taken under mu

	// mu protects the fields below
	mu      sync.RWMutex
	index   index
	files   map[string]position // by path, how far each was read
	skipped []Skipped
	unread  []string // files, and why

	scans scans
}

// A position is how far a file was read: up to the end of its last whole line.
type position struct {
	info   os.FileInfo
	offset int64
	lines  int
}

// A Skipped is a line that could not be read. Such a line has no effect.
type Skipped struct {
	File   string
	Line   int
	Reason string
}

// ReadFile adds the lines of a file. The error is an [*os.PathError] if the
// file cannot be read; whether a missing file matters is for the caller to say
// (errors.Is with [io/fs.ErrNotExist]). What was read before stays.
func (db *DB) ReadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return db.readFrom(f, path, position{info: info})
}

// TryFile adds the lines of a file, as ssh does: one that is missing is passed over, and
// so is one that cannot be read, or a folder. What it would say of hosts is not known
// then; the error of [DB.Check] for an unknown host names it.
func (db *DB) TryFile(path string) {
	err := db.ReadFile(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", path, e.Err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.unread = append(db.unread, err.Error())
}

// Read adds the lines that r yields. name stands for the file in errors.
func (db *DB) Read(r io.Reader, name string) error {
	text, err := readAll(r, name)
	if err != nil {
		return err
	}
	db.add(text, name, 0)
	return nil
}

// Skipped returns the first hundred lines that could not be read.
func (db *DB) Skipped() []Skipped {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return append([]Skipped(nil), db.skipped...)
}

// readFrom adds the lines of r, which stands at pos of the file, and remembers
// where the last whole line ended. A last line without newline is added, and
// will be again when the file is read on: somebody may be writing it.
func (db *DB) readFrom(r io.Reader, path string, pos position) error {
	text, err := readAll(r, path)
	if err != nil {
		return err
	}
	db.add(text, path, pos.lines)
	pos.offset += int64(strings.LastIndexByte(text, '\n') + 1)
	pos.lines += strings.Count(text, "\n")
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.files == nil {
		db.files = make(map[string]position)
	}
	db.files[path] = pos
	return nil
}

func readAll(r io.Reader, name string) (string, error) {
	var text bytes.Buffer
	n, err := text.ReadFrom(io.LimitReader(r, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if n > maxFile {
		return "", fmt.Errorf("read %s: larger than %d MiB", name, maxFile>>20)
	}
	return text.String(), nil
}

// add parses text, whose lines follow the first n lines of the file.
func (db *DB) add(text, file string, n int) {
	lines := make([]line, 0, strings.Count(text, "\n")+1)
	var skipped []Skipped
	var p parser
	for row := range strings.SplitSeq(text, "\n") {
		n++
		l, err := p.parse(row)
		switch {
		case err == errBlank:
		case err == nil:
			l.file, l.number = file, n
			lines = append(lines, l)
		case len(skipped) < maxSkipped:
			skipped = append(skipped, Skipped{File: file, Line: n, Reason: err.Error()})
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for i := range lines {
		db.index.add(&lines[i])
	}
	db.skipped = append(db.skipped, skipped[:min(len(skipped), maxSkipped-len(db.skipped))]...)
}
