package sshconfig

import (
	"errors"
	"fmt"
	"strconv"
)

// An Error says what is wrong in the configuration, and where.
type Error struct {
	File string // a path, or "-o" for a line given to [File.Options]
	Line int    // from 1; 0 if File is "-o", or if the error concerns the whole file
	Err  error  // what is wrong

	// Keyword, if not empty, is an unknown keyword, which IgnoreUnknown can allow.
	Keyword string
}

// ErrLoop is the error for a hop that would be reached through itself. It is wrapped in an
// [*Error].
var ErrLoop = errors.New("the hop leads to itself")

// Error returns "file:line: what is wrong".
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", origin{e.File, e.Line}, e.Err) }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Unsupported is a line that matters to ssh and has no effect in fleetssh, or not its full effect.
type Unsupported struct {
	Keyword string // in the spelling of ssh_config(5)
	Value   string // as written in the line
	File    string // a path, or "-o" for a line given to [File.Options]
	Line    int    // from 1; 0 if File is "-o"
	Reason  string // what fleetssh does instead; empty if the line just has no effect

	// Minor says that a program need not report the line on each run: what is missing makes no
	// difference, or an error reports it when it does.
	Minor bool

	// Use says which uses of fleetssh the line would affect.
	Use Use
}

// A Use is a way to use a connection.
type Use int

// The uses of a connection. UseConnection, the zero value, means every use.
const (
	UseConnection Use = iota
	UseCommands       // commands and shells
	UseTunnels
)

// String returns "file:line: Keyword value: reason", in one line.
func (u Unsupported) String() string {
	reason := u.Reason
	if reason == "" {
		reason = "has no effect"
	}
	return fmt.Sprintf("%s: %s %s: %s", origin{u.File, u.Line}, u.Keyword, u.Value, reason)
}

// origin is the position of a line.
type origin struct {
	file string
	line int
}

// The origins of lines that are not in a file.
const (
	fromOption  = "-o"
	fromCaller  = "argument"
	fromDefault = "default"
)

// String returns "file:line".
func (o origin) String() string {
	if o.line == 0 {
		return o.file
	}
	return o.file + ":" + strconv.Itoa(o.line)
}

// errorf returns an [*Error] at o.
func (o origin) errorf(format string, args ...any) error {
	return &Error{File: o.file, Line: o.line, Err: fmt.Errorf(format, args...)}
}
