package sshconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What may be read at most. A configuration of a fleet of ten thousand hosts with
// ten lines for each has 3 MiB.
const (
	maxFileSize = 16 << 20 // bytes of one file
	maxDepth    = 16       // files that include one another, as in ssh
	maxIncludes = 4096     // files that are included, each time counted
)

// A unit is a file that has been read.
type unit struct {
	sections []section
}

// A section is a Host or Match line and what follows it, up to the next; the first
// section of a unit has no such line.
type section struct {
	when  *condition // nil for the first
	lines []*line

	// Of lines, those that matter although the section does not apply: ssh refuses
	// an unknown keyword wherever it stands.
	always []*line
}

// A line is one keyword with its values.
type line struct {
	at     origin
	key    *keyword // nil if ssh would not know it either, and for Include
	name   string   // of an unknown keyword, in lower case
	values []string
	text   string  // what follows the keyword, as it was written; of an unknown one the keyword
	units  []*unit // what an Include brings
}

// reader reads files.
type reader struct {
	local    *local
	includes int

	// What is found on the way.
	final       bool // a Match asks for a second pass
	unsupported []Unsupported
}

// file reads a file. user tells that it belongs to a user: paths in it may begin with
// "~", and relative ones are in ~/.ssh. guarded tells that it is refused if others may
// write to it.
func (r *reader) file(path string, user, guarded bool, depth int) (*unit, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{File: path, Err: reason(err)}
	}
	defer f.Close()
	if guarded {
		if err := checkOwner(f); err != nil {
			return nil, &Error{File: path, Err: err}
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, &Error{File: path, Err: reason(err)}
	}
	if len(text) > maxFileSize {
		return nil, &Error{File: path, Err: fmt.Errorf("longer than %d MiB", maxFileSize>>20)}
	}
	return r.text(string(text), path, user, depth)
}

// reason returns what is wrong with a file without its name, which the Error has.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// text reads the content of a file.
func (r *reader) text(text, path string, user bool, depth int) (*unit, error) {
	u := &unit{sections: []section{{}}}
	n := 0
	for s := range strings.SplitSeq(text, "\n") {
		n++
		if err := r.line(u, s, origin{path, n}, user, depth); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// line adds one line to a unit.
func (r *reader) line(u *unit, s string, at origin, user bool, depth int) error {
	name, text := cutKeyword(s)
	if name == "" {
		return nil
	}
	if text == "" {
		return at.errorf("%s: there is no value", name)
	}
	args, err := splitWords(text)
	if err != nil {
		return at.errorf("%s: %w", name, err)
	}
	l := &line{at: at, text: text}
	last := &u.sections[len(u.sections)-1]
	switch name {
	case "host", "match":
		c, err := r.condition(name, args, at)
		if err != nil {
			return err
		}
		u.sections = append(u.sections, section{when: c})
		return nil
	case "include":
		if l.units, err = r.include(args, at, user, depth); err != nil {
			return err
		}
		last.lines, last.always = append(last.lines, l), append(last.always, l)
		return nil
	}
	l.key = keywords[name]
	if l.key == nil {
		l.name, l.text = name, asWritten(s, name)
		last.lines, last.always = append(last.lines, l), append(last.always, l)
		return nil
	}
	if l.values, err = l.key.read(text, args); err != nil {
		return at.errorf("%s: %w", l.key.name, err)
	}
	if l.key.lost(args) {
		r.unsupported = append(r.unsupported, l.unsupported(""))
	}
	if l.key.role != ignored {
		last.lines = append(last.lines, l)
	}
	return nil
}

// asWritten returns a keyword as it stands in a line.
func asWritten(line, name string) string {
	if at := strings.Index(strings.ToLower(line), name); at >= 0 && at+len(name) <= len(line) {
		return line[at : at+len(name)]
	}
	return name
}

// condition reads the words of a Host or Match line.
func (r *reader) condition(name string, args []string, at origin) (*condition, error) {
	if name == "host" {
		if len(args) == 0 || slices.Contains(args, "") {
			return nil, at.errorf("Host: a pattern is empty")
		}
		return &condition{at: at, hosts: args}, nil
	}
	criteria, err := parseCriteria(args)
	if err != nil {
		return nil, at.errorf("Match: %w", err)
	}
	c := &condition{at: at, criteria: criteria}
	for _, criterion := range criteria {
		r.final = r.final || criterion.name == "final"
		if criterion.name == "version" || criterion.name == "command" {
			r.unsupported = append(r.unsupported, Unsupported{
				Keyword: "Match " + criterion.name, Value: criterion.arg, File: at.file, Line: at.line,
				Reason: "is never true here",
			})
		}
	}
	return c, nil
}

// include reads the files that the words of an Include name.
func (r *reader) include(args []string, at origin, user bool, depth int) ([]*unit, error) {
	if len(args) == 0 || slices.Contains(args, "") {
		return nil, at.errorf("Include: a path is empty")
	}
	var units []*unit
	for _, arg := range args {
		pattern, err := r.local.includePath(arg, user)
		if err != nil {
			return nil, at.errorf("Include: %w", err)
		}
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, at.errorf("Include: %q: %w", arg, err)
		}
		for _, path := range paths { // sorted
			if r.includes++; depth >= maxDepth || r.includes > maxIncludes {
				return nil, at.errorf("Include: more than %d files inside one another, or %d in all", maxDepth, maxIncludes)
			}
			u, err := r.file(path, user, user, depth+1)
			if err != nil {
				return nil, err
			}
			units = append(units, u)
		}
	}
	return units, nil
}

// lost reports whether a value of the keyword has no effect although it would have
// one in ssh.
func (k *keyword) lost(args []string) bool {
	if k.role != unsupported {
		return false
	}
	return len(args) == 0 || slices.ContainsFunc(args, func(arg string) bool {
		return !slices.ContainsFunc(k.harmless, func(s string) bool { return strings.EqualFold(s, arg) })
	})
}

// unsupported describes a line that has no effect, or not all of it; why may be empty.
func (l *line) unsupported(why string) Unsupported {
	if why == "" {
		why = instead[l.key.name]
	}
	return Unsupported{Keyword: l.key.name, Value: l.text, File: l.at.file, Line: l.at.line, Reason: why, Minor: l.key.minor, Use: l.key.use}
}

// instead says what happens in place of what keywords ask for.
var instead = map[string]string{
	"AddKeysToAgent":          "has no effect: ssh-add adds keys to the agent",
	"ControlMaster":           "has no effect: a call has connections of its own, which end with it",
	"DynamicForward":          "has no effect: fleetssh tunnel -D is a proxy",
	"IPQoS":                   "has no effect: packets are not marked",
	"LocalForward":            "has no effect: fleetssh tunnel -L forwards ports",
	"NumberOfPasswordPrompts": "a password is asked for once",
	"RekeyLimit":              "has no effect: keys are renewed when the SSH library sees fit",
	"RemoteForward":           "has no effect: fleetssh tunnel -R forwards ports of hosts",
	"RequestTTY":              "has no effect: --tty asks for a terminal",
	"VerifyHostKeyDNS":        "fleetssh looks up no keys in DNS",
	"UpdateHostKeys":          "has no effect: other keys that a host has are not learned; fleetssh trust scan shows them",
}
