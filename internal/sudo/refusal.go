package sudo

import (
	"bytes"
	"regexp"
)

// Refusal is why sudo did not run the command, as far as its words tell.
type Refusal int

const (
	// Silent says that sudo has said nothing: it may have run the command.
	Silent Refusal = iota
	// Unclear says that it has said something, in its own words.
	Unclear
	// WrongPassword says that it has refused the password.
	WrongPassword
	// NeedsTerminal says that it runs on a terminal only (requiretty).
	NeedsTerminal
)

// What sudo and sudo-rs say, in English. In another language they are not understood,
// and the refusal is told without its reason.
var (
	wrongPassword = regexp.MustCompile(`(?m)^sudo(-rs)?: (maximum )?\d+ incorrect (password|authentication) attempts?`)
	needsTerminal = regexp.MustCompile(`(?m)^(sudo: )?sorry, you must have a tty to run sudo`)
)

// Refusal returns what sudo has said, if somebody answers and the command has not
// started.
func (f *Filter) Refusal() Refusal {
	said := bytes.ReplaceAll(f.said, []byte("\r"), nil)
	switch {
	case f.off, !f.tokens.Answering(): // without a token for the start, nobody knows
		return Silent
	case wrongPassword.Match(said):
		return WrongPassword
	case needsTerminal.Match(said):
		return NeedsTerminal
	case len(bytes.TrimSpace(said)) > 0 || f.asked:
		return Unclear
	}
	return Silent
}
