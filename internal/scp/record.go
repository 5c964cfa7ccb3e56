package scp

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Kind is the kind of a record.
type Kind int

// The kinds of records.
const (
	File   Kind = iota // a file; its content follows
	Dir                // the beginning of a directory; its content follows
	EndDir             // the end of a directory
)

// Record is a file, or the beginning or end of a directory.
type Record struct {
	Kind Kind
	// Name is any bytes except a slash, NUL and newline, but not empty, "." or "..". The end of a
	// directory has no name.
	Name string
	// Mode has the permissions, [fs.ModeSetuid], [fs.ModeSetgid] and [fs.ModeSticky]. Other bits
	// are neither sent nor received.
	Mode fs.FileMode
	// Size is the size of a file in bytes. The remote side claims it: do not allocate memory for
	// it.
	Size int64
	// ModTime and AccessTime have a resolution of a microsecond. If ModTime is zero, no times are
	// sent. A zero AccessTime is sent as ModTime, and times before 1970 are sent as 1970.
	ModTime, AccessTime time.Time
}

// checkName returns why a record cannot have this name, or nil.
func checkName(name string) error {
	why := ""
	switch {
	case name == "":
		why = "empty"
	case name == "." || name == "..":
		why = "leads to another directory"
	case len(name) > maxName:
		return &NameError{name[:64] + "…", fmt.Sprintf("%d bytes, at most %d", len(name), maxName)}
	case strings.IndexByte(name, '/') >= 0:
		why = "a slash in it"
	case strings.IndexByte(name, 0) >= 0:
		why = "a NUL byte in it"
	case strings.IndexByte(name, '\n') >= 0:
		why = "a newline in it, which the SCP protocol cannot carry"
	default:
		return nil
	}
	return &NameError{name, why}
}

// appendTo appends the line of the record.
func (r *Record) appendTo(line []byte) []byte {
	switch r.Kind {
	case EndDir:
		return append(line, "E\n"...)
	case Dir:
		return fmt.Appendf(line, "D%04o 0 %s\n", bits(r.Mode), r.Name)
	}
	return fmt.Appendf(line, "C%04o %d %s\n", bits(r.Mode), r.Size, r.Name)
}

// appendTimes appends the line with the times.
func (r *Record) appendTimes(line []byte) []byte {
	access := r.AccessTime
	if access.IsZero() {
		access = r.ModTime
	}
	line = append(line, 'T')
	for i, t := range []time.Time{r.ModTime, access} {
		seconds, micros := t.Unix(), t.Nanosecond()/1000
		switch {
		case seconds < 0:
			seconds, micros = 0, 0
		case seconds > maxTime:
			seconds = maxTime
		}
		if i > 0 {
			line = append(line, ' ')
		}
		line = fmt.Appendf(line, "%d %d", seconds, micros)
	}
	return append(line, '\n')
}

// parse reads the line of a record that begins with C, D or E, without the newline.
func (r *Record) parse(line []byte) error {
	switch {
	case string(line) == "E":
		r.Kind = EndDir
		return nil
	case len(line) > 0 && line[0] == 'C':
		r.Kind = File
	case len(line) > 0 && line[0] == 'D':
		r.Kind = Dir
	default:
		return broken("%s instead of a record", quote(line))
	}
	mode, rest, _ := bytes.Cut(line[1:], []byte(" "))
	size, name, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return broken("incomplete record %s", quote(line))
	}
	// OpenSSH demands exactly four octal digits.
	n, err := strconv.ParseUint(string(mode), 8, 12)
	if err != nil || len(mode) != 4 {
		return broken("bad mode in %s", quote(line))
	}
	r.Mode = fileMode(uint32(n))
	if r.Size, ok = number(size); !ok {
		return broken("bad size in %s", quote(line))
	}
	if r.Kind == Dir {
		r.Size = 0
	}
	r.Name = string(name)
	if err := checkName(r.Name); err != nil {
		return broken("bad file: %v", err)
	}
	return nil
}

// parseTimes reads a line of times, without the newline.
func (r *Record) parseTimes(line []byte) error {
	fields := bytes.Split(line[1:], []byte(" "))
	var n [4]int64
	ok := len(fields) == len(n)
	for i := 0; ok && i < len(n); i++ {
		n[i], ok = number(fields[i])
	}
	if !ok || max(n[0], n[2]) > maxTime || max(n[1], n[3]) > 999_999 {
		return broken("bad times in %s", quote(line))
	}
	r.ModTime, r.AccessTime = time.Unix(n[0], n[1]*1000), time.Unix(n[2], n[3]*1000)
	return nil
}

// number reads a decimal number without a sign that fits into an int64.
func number(digits []byte) (int64, bool) {
	n, err := strconv.ParseUint(string(digits), 10, 63)
	return int64(n), err == nil
}

// quote quotes text of the remote side, in at most about 200 characters.
func quote(text []byte) string {
	const limit = 64
	if len(text) > limit {
		return fmt.Sprintf("%q…", text[:limit])
	}
	return fmt.Sprintf("%q", text)
}

// special maps the mode bits that are no permissions from POSIX to Go.
var special = [3]struct {
	posix uint32
	mode  fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

func bits(mode fs.FileMode) uint32 {
	n := uint32(mode.Perm())
	for _, s := range special {
		if mode&s.mode != 0 {
			n |= s.posix
		}
	}
	return n
}

func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits) & fs.ModePerm
	for _, s := range special {
		if bits&s.posix != 0 {
			mode |= s.mode
		}
	}
	return mode
}
