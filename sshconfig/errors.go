package sshconfig

import (
	"errors"
	"fmt"
	"strconv"
)

// An Error is something in the configuration that cannot be used, and where it is.
type Error struct {
	File string // a path; "-o" for a line given to [File.Options]
	Line int    // from 1; 0 for a line given to [File.Options], and for a whole file
	Err  error  // what is wrong

	// Keyword, if not empty, is what ssh_config(5) does not know: IgnoreUnknown passes it
	// over.
	Keyword string
}

// ErrLoop is for a hop that is reached through itself.
var ErrLoop = errors.New("the hop leads to itself")

// Error says where and what, as "file:line: what".
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", origin{e.File, e.Line}, e.Err) }

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Unsupported is a line that would change how ssh connects, or what it does then,
// and that has no effect here, or not its whole effect.
type Unsupported struct {
	Keyword string // as ssh_config(5) writes it
	Value   string // as it was written
	File    string // a path, or "-o"
	Line    int    // from 1; 0 if File is "-o"
	Reason  string // why, if there is more to say than that fleetssh does not do it

	// Minor says that there is no need to tell it at every run: the line has its effect
	// but for what fleetssh does not have anyway, or the error that it leads to says it.
	Minor bool

	// Use says what of fleetssh it would change.
	Use Use
}

// A Use is what of fleetssh a line would change.
type Use int

// The zero Use is that of lines that concern the connection, whatever it is for.
const (
	UseConnection Use = iota
	UseCommands       // commands and shells
	UseTunnels
)

// String says where and what in one line, as "file:line: Keyword value: reason".
func (u Unsupported) String() string {
	reason := u.Reason
	if reason == "" {
		reason = "has no effect"
	}
	return fmt.Sprintf("%s: %s %s: %s", origin{u.File, u.Line}, u.Keyword, u.Value, reason)
}

// origin is where a line stands.
type origin struct {
	file string
	line int
}

// Where lines that are in no file come from.
const (
	fromOption  = "-o"
	fromCaller  = "argument"
	fromDefault = "default"
)

// String writes the origin as file:line.
func (o origin) String() string {
	if o.line == 0 {
		return o.file
	}
	return o.file + ":" + strconv.Itoa(o.line)
}

// errorf makes an Error of what is wrong at o.
func (o origin) errorf(format string, args ...any) error {
	return &Error{File: o.file, Line: o.line, Err: fmt.Errorf(format, args...)}
}
