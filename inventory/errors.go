package inventory

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// A ParseError says what is wrong with an inventory, and where.
type ParseError struct {
	// Path is the file or folder, "-" for one without a name.
	Path string

	// Line counts from 1. Zero means that the error belongs to no line.
	Line int

	Reason string

	err error
}

// Error returns "inventory path:line: reason", in one line without control
// characters.
func (e *ParseError) Error() string {
	place := e.Path
	if e.Line > 0 {
		place += ":" + strconv.Itoa(e.Line)
	}
	return printable("inventory " + place + ": " + e.Reason)
}

// Unwrap returns the error of the system or of the host set that is behind this
// one, nil if there is none.
func (e *ParseError) Unwrap() error { return e.err }

// An UnknownError says that an inventory does not know hosts or a group.
type UnknownError struct {
	// Kind is "host" or "group".
	Kind string

	// Names are what is not known, at least one.
	Names []string

	// Near are up to three known names that are almost the first of Names.
	Near []string
}

// Error names up to five of the names, and those that may have been meant.
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
		text += "; did you mean " + strings.Join(e.Near, " or ") + "?"
	}
	return printable(text)
}

// A SettingError says that a setting of a host cannot be used to log in to it.
type SettingError struct {
	// Host is its name in the inventory.
	Host string

	// Setting is the variable, or the key of a host file.
	Setting string

	Reason string

	err error
}

// Error returns "host: setting: reason", in one line without control characters.
func (e *SettingError) Error() string {
	return printable("host " + e.Host + ": " + e.Setting + ": " + e.Reason)
}

// Unwrap returns the error of the system that is behind this one, nil if there is
// none.
func (e *SettingError) Unwrap() error { return e.err }

// printable replaces what could drive a terminal: names and reasons come from
// files and programs.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// shown quotes what stands where a name is expected, for an error: up to what would make it a
// setting. The value of that may be a secret.
func shown(text string) string {
	ends := "=: \t"
	if strings.Contains(text, "[") {
		ends = "= \t" // in a range, a colon stands between two numbers
	}
	if i := strings.IndexAny(text, ends); i >= 0 {
		text = text[:i+1] + "…"
	}
	return fmt.Sprintf("%.80q", text)
}
