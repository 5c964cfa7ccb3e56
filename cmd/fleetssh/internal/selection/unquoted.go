package selection

import (
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// Unquoted returns the first word after the options if it looks like a host, and otherwise the empty
// string: the shell may have split an unquoted expression into several words.
func (f *ExprFlags) Unquoted(words []string) string {
	if len(words) == 0 || len(f.Exprs) == 0 {
		return ""
	}
	last := f.Exprs[len(f.Exprs)-1]
	shape := func(name string) string {
		return strings.Map(func(r rune) rune {
			if '0' <= r && r <= '9' {
				return '0'
			}
			return r
		}, name)
	}
	next := strings.TrimSuffix(words[0], ",")
	if next == last || shape(next) == next || shape(next) != shape(last) {
		return ""
	}
	return next
}

// QuoteHint is how to write an expression that the shell has split.
const QuoteHint = "looks like a host: quote expressions, as in -w 'web[1-3]', and separate hosts by commas"

// NoCommand returns the error for arguments of a verb that takes no command.
func (f *ExprFlags) NoCommand(verb string, words []string) error {
	return exit.UsageError(f.UnquotedHint(words, "fleetssh run runs a command"), "%s takes no command", verb)
}

// UnquotedHint returns the hint to quote an expression, if the words look like a split one, and
// otherwise the other hint.
func (f *ExprFlags) UnquotedHint(words []string, other string) string {
	if name := f.Unquoted(words); name != "" {
		return name + " " + QuoteHint
	}
	return other
}
