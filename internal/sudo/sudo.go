// Package sudo knows how to talk to sudo -S through a stream of output: it finds
// its question, answers it once, and takes out of the stream what the user has not
// asked for.
package sudo

import (
	"bytes"
	"crypto/rand"
)

// Tokens are random texts to look for in the output.
type Tokens struct {
	Prompt  string // sudo's question, given to it with -p
	Started string // written when sudo runs the command; empty: nobody writes it
}

// NewTokens returns new tokens. answering says that somebody will answer the
// question, and has to know when it can no longer come.
func NewTokens(answering bool) *Tokens {
	t := &Tokens{Prompt: "[sudo-" + rand.Text() + "]"}
	if answering {
		t.Started = "[started-" + rand.Text() + "]"
	}
	return t
}

// Event is what a Filter has found.
type Event int

const (
	// Asked says that sudo asks for the password.
	Asked Event = iota + 1
	// AskedAgain says that it has refused the one it got.
	AskedAgain
	// Started says that the command runs, and will read what comes next.
	Started
)

// Filter takes the tokens out of a stream. Text between the first question and
// the start that sudo writes to a terminal, an empty line, goes with them.
type Filter struct {
	tokens *Tokens
	held   []byte // the end of what was written so far, which may begin a token
	asked  bool
	off    bool // the command runs; nothing is looked for any more
	eol    bool // the line end that follows an answer on a terminal is to be dropped
}

// NewFilter returns a Filter for tokens.
func NewFilter(tokens *Tokens) *Filter { return &Filter{tokens: tokens} }

// Off reports whether everything that comes may pass as it is.
func (f *Filter) Off() bool { return f.off && len(f.held) == 0 }

// Write takes the next bytes of the stream. It returns what is to be shown, valid
// until the next call, and what was found, in order.
func (f *Filter) Write(p []byte) (show []byte, events []Event) {
	data := p
	if len(f.held) > 0 {
		data = append(f.held, p...)
		f.held = nil
	}
	if f.off {
		return data, nil
	}
	var out []byte
	for {
		if f.eol {
			var wait bool
			if data, wait = f.dropLineEnd(data); wait {
				return out, events
			}
		}
		at, token := f.find(data)
		if at < 0 {
			break
		}
		out = append(out, data[:at]...)
		data = data[at+len(token):]
		switch {
		case token == f.tokens.Started:
			f.off = true
			return append(out, data...), append(events, Started)
		case f.asked:
			events = append(events, AskedAgain)
		default:
			f.asked = true
			events = append(events, Asked)
		}
		f.eol = true
	}
	keep := f.beginning(data)
	out = append(out, data[:len(data)-keep]...)
	f.held = append(f.held, data[len(data)-keep:]...)
	return out, events
}

// Close returns what was held back.
func (f *Filter) Close() []byte {
	held := f.held
	f.held, f.off = nil, true
	return held
}

// dropLineEnd removes "\r\n" from the front of data; wait says that more data
// must come to decide. Without a terminal nothing follows the question.
func (f *Filter) dropLineEnd(data []byte) (rest []byte, wait bool) {
	switch {
	case len(data) == 0:
		return data, true
	case len(data) == 1 && data[0] == '\r':
		f.held = append(f.held, '\r')
		return nil, true
	case len(data) >= 2 && data[0] == '\r' && data[1] == '\n':
		data = data[2:]
	}
	f.eol = false
	return data, false
}

// find returns the first token in data.
func (f *Filter) find(data []byte) (at int, token string) {
	at = -1
	for _, t := range []string{f.tokens.Prompt, f.tokens.Started} {
		if t == "" {
			continue
		}
		if i := bytes.Index(data, []byte(t)); i >= 0 && (at < 0 || i < at) {
			at, token = i, t
		}
	}
	return at, token
}

// beginning returns how many bytes at the end of data may begin a token.
func (f *Filter) beginning(data []byte) int {
	for n := min(len(data), max(len(f.tokens.Prompt), len(f.tokens.Started))-1); n > 0; n-- {
		end := string(data[len(data)-n:])
		if n < len(f.tokens.Prompt) && f.tokens.Prompt[:n] == end || n < len(f.tokens.Started) && f.tokens.Started[:n] == end {
			return n
		}
	}
	return 0
}
