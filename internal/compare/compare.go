// Package compare compares local files with those of a host, which a copy would replace: the program for
// the host, its input and its output.
package compare

import (
	"bufio"
	_ "embed" // for the program
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"fleetssh/internal/sanitize"
	"fleetssh/internal/shellquote"
)

//go:embed compare.sh
var text string

// Query is what a host is asked about a destination.
type Query struct {
	Dest   string // see [Destination]
	Into   bool   // it must be a directory
	Owners bool   // owners and permissions matter
}

// Line returns the command line that prints what is at the paths of a manifest.
func (q Query) Line() string {
	what := ""
	if q.Owners {
		what = "owners"
	}
	return q.line(what)
}

// ContentLine returns the command line that prints at most so many bytes of the first path of a manifest.
func (q Query) ContentLine(most int) string { return q.line(fmt.Sprint(most)) }

func (q Query) line(what string) string {
	into := ""
	if q.Into {
		into = "into"
	}
	return shellquote.Join("sh", "-c", shellquote.OneLine(text), "sh", q.Dest, into, what)
}

// Want is what files should be, besides their content.
type Want struct {
	Owner, Group string      // names or numbers; "": any
	Mode         fs.FileMode // of files; 0: any
	Preserve     bool        // files and directories should have the permissions of their sources
}

// Owners reports whether hosts must be asked for owners and permissions.
func (w Want) Owners() bool { return w.Owner != "" || w.Group != "" || w.Mode != 0 || w.Preserve }

// State is how an entry differs.
type State string

// The states.
const (
	Missing    State = "missing"
	Content    State = "content"
	Type       State = "type"
	Unreadable State = "unreadable"
	Mode       State = "mode"
	Owner      State = "owner"
)

// Difference is an entry that is not on a host as it is here.
type Difference struct {
	Index int    // of the entry
	Path  string // on the host
	State State
	Text  string // in words
	Sum   string // the SHA-256 of the file on the host, for Content
}

// maxDifferences is how many differences of a host are kept.
const maxDifferences = 1000

// Report is what a host has told.
type Report struct {
	Same        int          // files and links; directories do not count
	Different   int          // entries
	Differences []Difference // the first ones
}

// errAnswer means that the output is not that of the program.
var errAnswer = errors.New("the answer of the host is not understood")

// maxLine bounds a line of the output.
const maxLine = 16 << 10

// Read reads the output of the program for entries.
func (q Query) Read(from io.Reader, entries []Entry, want Want) (*Report, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	next := func() (string, error) {
		if lines.Scan() {
			return lines.Text(), nil
		}
		return "", errAnswer
	}
	first, err := next()
	if err != nil || first != "into" && first != "as" {
		return nil, errAnswer
	}
	r := new(Report)
	for from := 0; from < len(entries); from += chunk {
		lines, err := q.chunk(next, min(chunk, len(entries)-from))
		if err != nil {
			return nil, err
		}
		for k, line := range lines {
			if err := r.add(q, first == "into", entries, from+k, line, want); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// chunk is after how many paths the program prints what takes other programs.
const chunk = 100

// chunk reads the lines about n paths, and completes those of files and directories.
func (q Query) chunk(next func() (string, error), n int) ([]string, error) {
	lines := make([]string, n)
	for i := range lines {
		var err error
		if lines[i], err = next(); err != nil {
			return nil, err
		}
	}
	asked := slices.Clone(lines)
	for i := range lines {
		if asked[i] != "f" {
			continue
		}
		sum, err := next()
		if err != nil {
			return nil, err
		}
		sum, _, _ = strings.Cut(strings.TrimPrefix(sum, `\`), " ") // sha256sum marks names that it has escaped
		if lines[i] = "f " + sum; sum == "u" {
			lines[i] = "u"
		}
	}
	for i := range lines {
		if !q.Owners || asked[i] != "f" && asked[i] != "d" {
			continue
		}
		attributes, err := next()
		if err != nil {
			return nil, err
		}
		switch {
		case attributes == "u": // it has vanished meanwhile
			lines[i] = "u"
		case lines[i] != "u":
			lines[i] += " " + attributes
		}
	}
	return lines, nil
}

// add adds what a line tells of entry number i.
func (r *Report) add(q Query, into bool, entries []Entry, i int, line string, want Want) error {
	found, err := entries[i].compare(line, want)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if entries[i].Kind != Directory {
			r.Same++
		}
		return nil
	}
	r.Different++
	for _, d := range found {
		if len(r.Differences) < maxDifferences {
			d.Index, d.Path = i, q.target(entries[i].Path, into)
			r.Differences = append(r.Differences, d)
		}
	}
	return nil
}

// target returns the path of an entry on the host.
func (q Query) target(name string, into bool) string {
	if into {
		return path.Join(q.Dest, name)
	}
	if _, below, ok := strings.Cut(name, "/"); ok {
		return path.Join(q.Dest, below)
	}
	return q.Dest
}

// compare returns how an entry differs from what the host has told in a line.
func (e *Entry) compare(line string, want Want) ([]Difference, error) {
	kind, rest, _ := strings.Cut(line, " ")
	fields := strings.Fields(rest)
	one := func(state State, text string) ([]Difference, error) {
		return []Difference{{State: state, Text: text}}, nil
	}
	switch kind {
	case "-":
		return one(Missing, "missing")
	case "u":
		return one(Unreadable, "cannot be read")
	case "o":
		return one(Type, "not a regular file")
	case "l":
		if e.Kind != Link {
			return one(Type, "a symbolic link to "+sanitize.Line(rest))
		}
		if rest != strings.SplitN(e.Target, "\n", 2)[0] {
			return one(Content, "a link to "+sanitize.Line(rest)+", not to "+sanitize.Line(e.Target))
		}
		return nil, nil
	case "d":
		if e.Kind != Directory {
			return one(Type, "a directory")
		}
		if !want.Preserve {
			return nil, nil
		}
		return e.attributes(fields, Want{Mode: e.Mode})
	case "f":
		if len(fields) < 1 || len(fields[0]) != 2*len(e.Sum) {
			return nil, errAnswer
		}
		if e.Kind != File {
			return one(Type, "a regular file")
		}
		var found []Difference
		if fields[0] != hex.EncodeToString(e.Sum[:]) {
			found = append(found, Difference{State: Content, Text: "differs", Sum: sanitize.Line(fields[0])})
		}
		if want.Preserve && want.Mode == 0 {
			want.Mode = e.Mode
		}
		more, err := e.attributes(fields[1:], want)
		return append(found, more...), err
	}
	return nil, errAnswer
}

// attributes compares owner and permissions with what ls has told.
func (e *Entry) attributes(fields []string, want Want) ([]Difference, error) {
	if want.Owner == "" && want.Group == "" && want.Mode == 0 {
		return nil, nil
	}
	if len(fields) != 5 {
		return nil, errAnswer
	}
	mode, ok := parseMode(fields[0])
	if !ok {
		return nil, errAnswer
	}
	var found []Difference
	if want.Mode != 0 && mode != want.Mode {
		found = append(found, Difference{State: Mode, Text: fmt.Sprintf("mode %04o, want %04o", octal(mode), octal(want.Mode))})
	}
	user, group := fields[1], fields[2]
	is := func(want, name, number string) bool { return want == "" || want == name || want == number }
	if !is(want.Owner, user, fields[3]) || !is(want.Group, group, fields[4]) {
		wanted := want.Owner
		if want.Group != "" {
			wanted += ":" + want.Group
		}
		found = append(found, Difference{State: Owner, Text: fmt.Sprintf("owner %s:%s, want %s", sanitize.Line(user), sanitize.Line(group), wanted)})
	}
	return found, nil
}

// parseMode reads permissions as ls prints them.
func parseMode(text string) (mode fs.FileMode, ok bool) {
	if len(text) < 10 {
		return 0, false
	}
	for i, letter := range text[1:10] {
		bit := fs.FileMode(0o400) >> i
		special := [...]fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}[i/3]
		switch letter {
		case '-':
		case 'r', 'w', 'x':
			mode |= bit
		case 's', 't':
			mode |= bit | special
		case 'S', 'T':
			mode |= special
		default:
			return 0, false
		}
	}
	return mode, true
}

// octal returns the bits of a mode as chmod has them.
func octal(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for bit, set := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			bits |= set
		}
	}
	return bits
}
