// Package cmdline builds the command lines that hosts are sent: the user's commands, with
// placeholders filled in and wrapped in a shell, an environment and sudo, and the library's own
// programs for sh, which are the .sh files of this package. internal/transfer and internal/scp
// build the command lines of copies.
package cmdline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleetssh/internal/charset"
	"fleetssh/internal/placeholder"
	"fleetssh/internal/shellquote"
	"fleetssh/internal/sudo"
)

// Spec describes a command for one host.
type Spec struct {
	// Line is a command line for a shell on the host.
	Line string

	// Script, if not nil, runs instead of Line.
	Script *Script

	// Values are the values for the placeholders in Line or in the arguments of Script. If it is
	// nil, percent signs are ordinary characters.
	Values *Values

	// Shell is the command that runs Line, such as "bash -c". It is not quoted. If it is empty,
	// Line is sent as it is, or, with Env or Sudo, run by "$SHELL -c".
	Shell string

	// Env is set by env(1).
	Env map[string]string

	// Sudo, if not nil, runs the whole command with sudo.
	Sudo *Sudo

	// Text is the character set of the command line. Nil is UTF-8.
	Text *charset.Set
}

// Values are values for placeholders, see [placeholder.Expand].
type Values struct {
	List []string
	Map  map[string]string
}

// Sudo says how to run a command with sudo.
type Sudo struct {
	User      string          // empty: root
	Sentinels *sudo.Sentinels // find sudo's messages in the output; nil: the user reads them
}

// Error says why a command line cannot be built.
type Error struct {
	Field  string // "Line", "Shell", "User", "Env", "Script.Text" or "Script.Args"; empty for the line with its placeholders filled in
	Name   string // the placeholder that cannot be filled in, if that is the reason
	Reason string
}

// Error implements [error].
func (e *Error) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("%q: %s", e.Name, e.Reason)
	}
	if e.Field != "" {
		return e.Field + ": " + e.Reason
	}
	return e.Reason
}

// Build returns the command line for a host. The error is an [*Error].
func Build(s Spec) (string, error) {
	if err := s.check(); err != nil {
		return "", err
	}
	line, err := s.inner()
	if err != nil {
		return "", err
	}
	shell := s.Shell
	if shell == "" && s.Script == nil && (s.Sudo != nil || len(s.Env) > 0) {
		shell = "$SHELL -c"
	}
	if shell != "" {
		line = shell + " " + shellquote.Quote(line)
	}
	if len(s.Env) > 0 {
		words := []string{"env"}
		for _, name := range slices.Sorted(maps.Keys(s.Env)) {
			words = append(words, name+"="+shellquote.Quote(s.Env[name]))
		}
		line = strings.Join(words, " ") + " " + line
	}
	line, err = s.Text.Encode(s.Sudo.prefix() + line)
	if err != nil {
		return "", &Error{Reason: "the line " + err.Error()}
	}
	return line, nil
}

// inner returns the command line before it is wrapped in shell, environment and sudo.
func (s *Spec) inner() (string, error) {
	if s.Script == nil {
		return s.expand(s.Line)
	}
	args, err := s.ScriptArgs()
	if err != nil {
		return "", err
	}
	return s.Script.line(args)
}

// expand fills in the placeholders.
func (s *Spec) expand(template string) (string, error) {
	if s.Values == nil {
		return template, nil
	}
	line, err := placeholder.Expand(template, s.Values.List, s.Values.Map)
	if fault, ok := err.(*placeholder.Error); ok {
		return "", &Error{Name: fault.Name, Reason: fault.Reason}
	}
	return line, err
}

// prefix returns the words that run a command with sudo. It is empty if s is nil.
func (s *Sudo) prefix() string {
	if s == nil {
		return ""
	}
	words := "sudo"
	if s.Sentinels != nil {
		words += " -S -p " + shellquote.Quote(s.Sentinels.Prompt())
	}
	if s.User != "" {
		words += " -u " + shellquote.Quote(s.User)
	}
	words += " -- "
	if s.Sentinels != nil && s.Sentinels.Answering() {
		// The program reports that sudo is done, so the rest of standard input belongs to the
		// command. It runs in sh, because the syntax of redirections depends on $SHELL.
		words += "sh -c " + shellquote.Quote(s.Sentinels.Starter()) + " "
	}
	return words
}

// check checks each part of the command, except the line with its placeholders filled in. Each
// part is encoded by itself, so that the error can name it. The error is an [*Error].
func (s *Spec) check() error {
	switch {
	case strings.IndexByte(s.Line, 0) >= 0:
		return &Error{Field: "Line", Reason: hasNUL}
	case strings.IndexByte(s.Shell, 0) >= 0:
		return &Error{Field: "Shell", Reason: hasNUL}
	case s.Sudo != nil && strings.IndexByte(s.Sudo.User, 0) >= 0:
		return &Error{Field: "User", Reason: hasNUL}
	}
	if s.Script != nil {
		if err := s.Script.check(s.Text); err != nil {
			return err
		}
	}
	if _, err := s.Text.Encode(s.Shell); err != nil {
		return &Error{Field: "Shell", Reason: "it " + err.Error()}
	}
	if s.Sudo != nil {
		if _, err := s.Text.Encode(s.Sudo.User); err != nil {
			return &Error{Field: "User", Reason: "it " + err.Error()}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if !validEnvName(name) {
			return &Error{Field: "Env", Reason: fmt.Sprintf("%q is not the name of a variable", name)}
		}
		if strings.IndexByte(s.Env[name], 0) >= 0 {
			return &Error{Field: "Env", Reason: fmt.Sprintf("the value of %s holds a NUL byte", name)}
		}
		if _, err := s.Text.Encode(s.Env[name]); err != nil {
			return &Error{Field: "Env", Reason: fmt.Sprintf("the value of %s %v", name, err)}
		}
	}
	return nil
}

const hasNUL = "it holds a NUL byte"

func validEnvName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
