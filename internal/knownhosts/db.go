// Package knownhosts reads and writes known_hosts files. It decides whether they vouch for the
// key of a host and which host key algorithms to ask a host for, judges the keys that a scan has
// found, and adds hosts.
//
// # Rules
//
// The rules are those of OpenSSH 9.2, found by experiment.
//
//   - A host is looked up as [host]:port if the port is not 22, and as host if no line without
//     marker is found for that. Patterns are matched against the whole name, so * matches
//     [host]:port.
//   - If the lines for [host]:port, or for host on port 22, list only other keys, the key has
//     changed. Lines that are found by the plain name only never make a key changed: then the
//     host is unknown.
//   - The type of a key plays no part in this: a host that is known by an RSA key has changed if
//     it shows an Ed25519 key. See [KeyError.Retry].
//   - A certificate is good if an authority listed for the host has signed it, and it names the
//     host, without port. A certificate that is not good counts as the plain key in it.
//   - The key of an authority is not a host key.
//   - A line that cannot be parsed is skipped, and the others count.
//
// It differs on purpose in these points.
//
//   - A @revoked line for host counts for [host]:port too, even if another line lists the key
//     for [host]:port. OpenSSH ignores it then, and adds a revoked key with
//     StrictHostKeyChecking=accept-new.
//   - A host with a bad certificate of a listed authority is not accepted as a new host.
//   - Wildcards in the names of a certificate count, as they do from OpenSSH 10.3 on. A
//     certificate without names is good for every host, as before 10.3.
package knownhosts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
)

// The limits in bytes. A longer line is skipped, and a longer file refused.
const (
	maxFile = 256 << 20
	maxLine = 1 << 20
)

// A DB is a set of known_hosts files, read once and indexed. The zero DB is empty and ready for
// use. All methods may be called concurrently.
type DB struct {
	// Hash makes Add hash the names of hosts, as ssh-keygen -H does. It must be set before the
	// first call of Add.
	Hash bool

	adding sync.Mutex // held by Add for its whole length; never taken under mu

	mu     sync.RWMutex // protects the fields before scans
	index  index
	files  map[string]position // by path
	unread []string            // files that could not be read, and why

	scans scans
}

// A position is how far a file was read: to the end of its last complete line.
type position struct {
	info   os.FileInfo
	offset int64
	lines  int
}

// ReadFile adds the lines of a file to the DB. The error is an [*os.PathError] if the file
// cannot be read; the caller decides whether a missing file matters (errors.Is with
// [io/fs.ErrNotExist]).
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

// TryFile is ReadFile as ssh does it: it ignores a file that is missing, cannot be read or is a
// directory. The error of [DB.Check] for an unknown host names the files that could not be read.
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

// Read adds the lines from r to the DB. name stands for the file in errors.
func (db *DB) Read(r io.Reader, name string) error {
	text, err := readAll(r, name)
	if err != nil {
		return err
	}
	db.add(text, name, 0)
	return nil
}

// readFrom adds the lines of r, which is at pos in the file, and records where the last complete
// line ended. A last line without newline is added too, and again when the rest of the file is
// read: another process may be writing it.
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

// add parses text, which follows the first n lines of the file, and adds its lines. Blank lines
// and lines that cannot be parsed have no effect.
func (db *DB) add(text, file string, n int) {
	lines := make([]line, 0, strings.Count(text, "\n")+1)
	var p parser
	for row := range strings.SplitSeq(text, "\n") {
		n++
		if l, err := p.parse(row); err == nil {
			l.file, l.number = file, n
			lines = append(lines, l)
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for i := range lines {
		db.index.add(&lines[i])
	}
}

// Names returns the names that unmarked lines list for hosts, such as "web1" and "[web1]:2222", in no
// order. Patterns and hashed names are left out.
func (db *DB) Names() []string {
	db.mu.RLock()
	defer db.mu.RUnlock()
	var names []string
	for name, lines := range db.index.names {
		if slices.ContainsFunc(lines, func(l *line) bool { return l.marker == unmarked }) {
			names = append(names, name)
		}
	}
	for _, l := range db.index.patterns {
		for name := range strings.SplitSeq(l.patterns, ",") {
			if l.marker == unmarked && !strings.ContainsAny(name, "*?!") {
				names = append(names, name)
			}
		}
	}
	return names
}
