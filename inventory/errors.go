package inventory

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"fleetssh/internal/nearest"
)

// A ParseError says what is wrong with an inventory, and where.
type ParseError struct {
	// Path is the file or folder.
	Path string

	// Line is the number of the line, from 1. Zero means that the error concerns no line in
	// particular.
	Line int

	Reason string

	err error
}

// Error returns "inventory path:line: reason" in one line without control characters.
func (e *ParseError) Error() string {
	place := e.Path
	if e.Line > 0 {
		place += ":" + strconv.Itoa(e.Line)
	}
	return printable("inventory " + place + ": " + e.Reason)
}

// Unwrap returns the cause, such as an error of the operating system or a [*hostset.ParseError],
// or nil if there is none.
func (e *ParseError) Unwrap() error { return e.err }

// An UnknownError says that hosts, a group or a variable are not in the inventory.
type UnknownError struct {
	// Kind is "host", "group" or "variable".
	Kind string

	// Names are the unknown names, at least one.
	Names []string

	// Near are up to three known names that are similar to the first of Names.
	Near []string
}

// Error returns up to five of the unknown names, and suggestions.
func (e *UnknownError) Error() string {
	const shown = 5
	var quoted []string
	for _, name := range e.Names[:min(len(e.Names), shown)] {
		quoted = append(quoted, strconv.Quote(name))
	}
	text := "the inventory has no " + e.Kind + " " + strings.Join(quoted, ", ")
	if more := len(e.Names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(e.Near) > 0 {
		text += "; " + nearest.Hint(e.Near)
	}
	return printable(text)
}

// A SettingError says that a setting of a host cannot be used to log in to it.
type SettingError struct {
	// Host is the name of the host in the inventory.
	Host string

	// Setting is the name of the variable, or the key in a list of hosts.
	Setting string

	Reason string

	err error
}

// Error returns "host name: setting: reason" in one line without control characters.
func (e *SettingError) Error() string {
	return printable("host " + e.Host + ": " + e.Setting + ": " + e.Reason)
}

// Unwrap returns the cause, such as an error of the operating system, or nil if there is none.
func (e *SettingError) Unwrap() error { return e.err }

// printable replaces characters that could control a terminal: names and reasons come from files
// and programs.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// shown quotes text in the place of a name for an error, up to the character after which it could
// be the value of a setting: that may be a secret.
func shown(text string) string {
	ends := "=: \t"
	if strings.Contains(text, "[") {
		ends = "= \t" // in a range, a colon separates numbers
	}
	if i := strings.IndexAny(text, ends); i >= 0 {
		text = text[:i+1] + "…"
	}
	return fmt.Sprintf("%.80q", text)
}
