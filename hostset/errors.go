package hostset

import (
	"fmt"
	"strings"
	"unicode"
)

// shownExpr is the number of bytes of an expression that an error shows on each side of the offset.
const shownExpr = 60

// ParseError says what is wrong with an expression, and where.
type ParseError struct {
	Expr   string // the whole expression
	Offset int    // in bytes, from the start of Expr
	Reason string

	err error // the error of the group at Offset
}

// Error returns one line without control characters. It shows the part of the expression around the
// offset.
func (e *ParseError) Error() string {
	return fmt.Sprintf("host set %s: offset %d: %s", e.excerpt(), e.Offset, printable(e.Reason))
}

// Unwrap returns the error of the group at Offset: the error that [Groups] returned, or the
// [*ParseError] of the group's own expression. It returns nil if the error is not about a group.
func (e *ParseError) Unwrap() error { return e.err }

func (e *ParseError) excerpt() string {
	offset := min(max(e.Offset, 0), len(e.Expr))
	start, end := max(offset-shownExpr, 0), min(offset+shownExpr, len(e.Expr))
	before, after := "", ""
	if start > 0 {
		before = "..."
	}
	if end < len(e.Expr) {
		after = "..."
	}
	return fmt.Sprintf("%s%q%s", before, e.Expr[start:end], after)
}

// printable replaces characters that could control a terminal. Reasons quote the text of
// expressions, but may end with the error of a group, which comes from [Groups].
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
