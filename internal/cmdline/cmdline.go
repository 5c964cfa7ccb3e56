// Package cmdline builds the command lines that hosts are sent: the user's, with placeholders,
// shell, environment and sudo around them, and those of the library's own programs for sh, which
// stand in the .sh files here. How files are copied is no part of it: internal/transfer and
// internal/scp know their own lines.
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

// Spec says what a host is to run.
type Spec struct {
	// Line is a command line for a shell of the host.
	Line string

	// Script, if not nil, is run instead of Line.
	Script *Script

	// Values fill the placeholders in Line or in the arguments of Script. Nil means that there are
	// none, and percent signs are sent as they are.
	Values *Values

	// Shell is what Line is handed to, as it is: "bash -c". Empty means that Line is sent as it is,
	// or, with Env or Sudo, "$SHELL -c".
	Shell string

	// Env is set by env(1).
	Env map[string]string

	// Sudo, if not nil, runs all of it as another user.
	Sudo *Sudo

	// Text is how the line is encoded.
	Text *charset.Set
}

// Values are what placeholders stand for. [placeholder.Expand] says how.
type Values struct {
	List []string
	Map  map[string]string
}

// Sudo says how to run a command with sudo.
type Sudo struct {
	User   string       // empty: root
	Tokens *sudo.Tokens // how to know sudo's words in the output; nil: they are the user's to read
}

// Error says what keeps a command line from being built.
type Error struct {
	Field  string // "Shell", "User", "Env", "Script.Text", "Script.Args"; "Line" for the Line before its placeholders are filled in, empty for it thereafter
	Name   string // the placeholder, if it is one that cannot be filled in
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

// inner returns the line that everything else stands around.
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

// prefix returns what stands before a command to run it with sudo, nothing if s is nil.
func (s *Sudo) prefix() string {
	if s == nil {
		return ""
	}
	words := "sudo"
	if s.Tokens != nil {
		words += " -S -p " + shellquote.Quote(s.Tokens.Prompt())
	}
	if s.User != "" {
		words += " -u " + shellquote.Quote(s.User)
	}
	words += " -- "
	if s.Tokens != nil && s.Tokens.Answering() {
		// Says when sudo is done, so that what follows on standard input is for the command. sh is
		// named because $SHELL may write redirections in another way.
		words += "sh -c " + shellquote.Quote(s.Tokens.Starter()) + " "
	}
	return words
}

// check returns the [*Error] of what stands around the line. A line of which a part cannot be
// written in the character set is never sent, nor is what is left of it.
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
