package sudo

import (
	"bytes"
	"regexp"
)

// Refusal is the reason why sudo did not run the command, as far as its messages tell.
type Refusal int

const (
	// Silent means that sudo printed nothing: it may have run the command.
	Silent Refusal = iota
	// Unclear means that sudo printed a message that is not understood.
	Unclear
	// WrongPassword means that sudo rejected the password.
	WrongPassword
	// NeedsTerminal means that sudo runs on a terminal only (requiretty).
	NeedsTerminal
)

// The messages of sudo and sudo-rs in English. Those in other languages are Unclear.
var (
	wrongPassword = regexp.MustCompile(`(?m)^sudo(-rs)?: (maximum )?\d+ incorrect (password|authentication) attempts?`)
	needsTerminal = regexp.MustCompile(`(?m)^(sudo: )?sorry, you must have a tty to run sudo`)
)

// Refusal returns why sudo did not run the command. It returns Silent if the command has started,
// and if nobody answers the question: without a sentinel for the start, the messages may be the
// command's.
func (f *Filter) Refusal() Refusal {
	messages := bytes.ReplaceAll(f.messages, []byte("\r"), nil)
	switch {
	case f.off, !f.sentinels.Answering():
		return Silent
	case wrongPassword.Match(messages):
		return WrongPassword
	case needsTerminal.Match(messages):
		return NeedsTerminal
	case len(bytes.TrimSpace(messages)) > 0 || f.asked:
		return Unclear
	}
	return Silent
}
