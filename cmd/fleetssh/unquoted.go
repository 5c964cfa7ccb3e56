package main

import (
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// expanded returns the first word behind the options if it looks like a host: a shell may have
// made several words of an expression that was not quoted. It is empty if it does not.
func (f *selectFlags) expanded(words []string) string {
	if len(words) == 0 || len(f.hosts) == 0 {
		return ""
	}
	last := f.hosts[len(f.hosts)-1]
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

// quoteHint says how to write what a shell has made several words of.
const quoteHint = "looks like a host: quote expressions, as in -w 'web[1-3]', and separate hosts by commas"

// noCommandHere refuses words behind the options of a verb that takes none.
func (f *selectFlags) noCommandHere(verb string, words []string) error {
	return exit.UsageError(f.expandedHint(words, "fleetssh run runs a command"), "%s takes no command", verb)
}

// expandedHint says what may have happened to an expression, or else another hint.
func (f *selectFlags) expandedHint(words []string, other string) string {
	if name := f.expanded(words); name != "" {
		return name + " " + quoteHint
	}
	return other
}
