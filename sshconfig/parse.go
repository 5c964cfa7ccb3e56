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

// The limits of a configuration. Ten thousand hosts with ten lines each take 3 MiB.
const (
	maxFileSize = 16 << 20 // bytes of one file
	maxDepth    = 16       // nested files, as in ssh
	maxIncludes = 4096     // included files; a file that is included twice counts twice
)

// A parsedFile is the contents of a file.
type parsedFile struct {
	sections []section
}

// A section is a Host or Match line and the lines up to the next one. The first section of a file
// has no such line.
type section struct {
	when  *condition // nil for the first section
	lines []*line

	// always is the lines that matter even if the section does not apply: ssh refuses
	// unknown keywords everywhere.
	always []*line
}

// A line is one keyword with its values.
type line struct {
	at       origin
	key      *keyword // nil for an unknown keyword and for Include
	name     string   // of an unknown keyword, in lower case
	values   []string
	text     string        // what follows the keyword, as it was written; of an unknown one the keyword
	included []*parsedFile // what an Include brings
}

// reader reads files.
type reader struct {
	local    *local
	includes int

	final       bool // a Match line asks for a second pass
	unsupported []Unsupported
}

// file reads a file. If it is a user's file, paths in it may begin with "~", and relative paths are
// relative to ~/.ssh. If guarded is set, the file is refused if others may write to it.
func (r *reader) file(path string, user, guarded bool, depth int) (*parsedFile, error) {
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

// reason returns an error without the path, which is in the [Error].
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// text parses the contents of a file.
func (r *reader) text(text, path string, user bool, depth int) (*parsedFile, error) {
	u := &parsedFile{sections: []section{{}}}
	n := 0
	for s := range strings.SplitSeq(text, "\n") {
		n++
		if err := r.line(u, s, origin{path, n}, user, depth); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// line adds a line to a file.
func (r *reader) line(u *parsedFile, s string, at origin, user bool, depth int) error {
	name, text := cutKeyword(s)
	if name == "" {
		return nil
	}
	if text == "" {
		return at.errorf("%s: the value is missing", name)
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
		if l.included, err = r.include(args, at, user, depth); err != nil {
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
	if l.key.ineffective(args) {
		r.unsupported = append(r.unsupported, l.unsupported(""))
	}
	if l.key.role != ignored {
		last.lines = append(last.lines, l)
	}
	return nil
}

// asWritten returns a keyword as written in a line.
func asWritten(line, name string) string {
	if at := strings.Index(strings.ToLower(line), name); at >= 0 && at+len(name) <= len(line) {
		return line[at : at+len(name)]
	}
	return name
}

// condition parses the words of a Host or Match line.
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

// include reads the files of an Include.
func (r *reader) include(args []string, at origin, user bool, depth int) ([]*parsedFile, error) {
	if len(args) == 0 || slices.Contains(args, "") {
		return nil, at.errorf("Include: a path is empty")
	}
	var units []*parsedFile
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
				return nil, at.errorf("Include: more than %d nested files, or more than %d files in total", maxDepth, maxIncludes)
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

// ineffective reports whether values of the keyword have no effect although they would have one in
// ssh.
func (k *keyword) ineffective(args []string) bool {
	if k.role != unsupported {
		return false
	}
	return len(args) == 0 || slices.ContainsFunc(args, func(arg string) bool {
		return !slices.ContainsFunc(k.harmless, func(s string) bool { return strings.EqualFold(s, arg) })
	})
}

// unsupported describes a line that has no effect, or not its full effect. why may be empty.
func (l *line) unsupported(why string) Unsupported {
	if why == "" {
		why = instead[l.key.name]
	}
	return Unsupported{Keyword: l.key.name, Value: l.text, File: l.at.file, Line: l.at.line, Reason: why, Minor: l.key.minor, Use: l.key.use}
}

// instead says what fleetssh does instead.
var instead = map[string]string{
	"AddKeysToAgent":          "has no effect: ssh-add adds keys to the agent",
	"ControlMaster":           "has no effect: each run of fleetssh has its own connections, which end with it",
	"DynamicForward":          "has no effect: fleetssh tunnel -D is a proxy",
	"IPQoS":                   "has no effect: packets are not marked",
	"LocalForward":            "has no effect: fleetssh tunnel -L forwards ports",
	"NumberOfPasswordPrompts": "has no effect: a password is asked for once",
	"RekeyLimit":              "has no effect: the SSH library decides when to renew keys",
	"RemoteForward":           "has no effect: fleetssh tunnel -R forwards ports of hosts",
	"RequestTTY":              "has no effect: --tty asks for a terminal",
	"VerifyHostKeyDNS":        "has no effect: keys are not looked up in DNS",
	"UpdateHostKeys":          "has no effect: further keys of a host are not added; fleetssh trust scan shows them",
}
