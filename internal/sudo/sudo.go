// Package sudo knows how to talk to sudo -S through a stream of output: it finds
// its question, answers it once, and takes out of the stream what the user has not
// asked for. It knows sudo since 1.8, and sudo-rs.
package sudo

import (
	"bytes"
	"strings"
	"sync/atomic"
)

// Event is what a Filter has found.
type Event int

const (
	// Asked says that sudo asks for the password.
	Asked Event = iota + 1
	// AskedAgain says that it has refused the one it got.
	AskedAgain
	// AskedMore says that it has asked a second time, without a word about the first
	// answer: it wants something else besides the password.
	AskedMore
	// Started says that the command runs, and will read what comes next.
	Started
)

// Filter takes the tokens out of a stream, and what sudo writes around them: the rest
// of sudo-rs's question, the line end on a terminal, what stands for typed letters. Until
// the command starts, it also takes out what quotes the tokens in the command line.
// It holds back less than a kilobyte.
type Filter struct {
	tokens  *Tokens
	needles []needle
	secret  atomic.Pointer[string] // see Hide
	held    []byte                 // the end of what was written so far, which may begin a needle
	behind  place
	said    []byte // the last of what was shown before the start
	asked   bool
	spoke   bool        // something was shown since the last question
	mute    bool        // sudo was told to give up; its last words are not shown
	given   atomic.Bool // the same, said from outside
	off     bool        // the command runs; nothing is looked for any more
}

// needle is a text that is looked for.
type needle struct {
	text string
	kind needleKind
}

type needleKind int

const (
	quoted   needleKind = iota // part of the command line
	prompt                     // the question
	question                   // the question of sudo-rs, up to the token
	started
)

// place is what a Filter stands behind.
type place int

const (
	text          place = iota
	afterToken          // of sudo-rs: its question goes on
	afterPrompt         // what is typed may be shown, and a line end
	afterQuestion       // the same, of sudo-rs, which ends the line in any case
)

const (
	maxQuestion = 600 // PAM_MAX_MSG_SIZE, and what sudo-rs puts around it
	maxEcho     = 600
	maxSaid     = 1 << 10
)

// NewFilter returns a Filter for tokens.
func NewFilter(tokens *Tokens) *Filter {
	f := &Filter{tokens: tokens}
	f.needles = []needle{{"[sudo: " + tokens.prompt.String(), question}, {tokens.prompt.String(), prompt}}
	if tokens.Answering() {
		f.needles = append(f.needles, needle{tokens.started.String(), started})
	}
	for _, text := range tokens.quotes() {
		f.needles = append(f.needles, needle{text, quoted})
	}
	return f
}

// Off reports whether everything that comes may pass as it is.
func (f *Filter) Off() bool { return f.off && len(f.held) == 0 }

// Hide keeps the answer out of the stream, where the terminal of a sudo that asks
// before it has turned off the echo shows it. It may be called while Write is.
func (f *Filter) Hide(answer string) {
	if answer != "" {
		f.secret.Store(&answer)
	}
}

// GiveUp says that sudo gets no answer: what it says about that is not shown. It may be
// called while Write is.
func (f *Filter) GiveUp() { f.given.Store(true) }

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
		rest, wait := f.passSudo(data)
		if wait {
			f.held = append([]byte(nil), rest...)
			return out, events
		}
		at, n := find(rest, f.needles)
		begun := len(rest) - beginning(rest, f.needles)
		if n == nil || begun <= at {
			out = f.show(out, rest[:begun])
			f.held = append([]byte(nil), rest[begun:]...)
			return out, events
		}
		out = f.show(out, rest[:at])
		data = rest[at+len(n.text):]
		switch n.kind {
		case started:
			f.off = true
			return append(out, data...), append(events, Started)
		case prompt, question:
			events = append(events, f.question())
			f.behind = afterPrompt
			if n.kind == question {
				f.behind = afterToken
			}
		}
	}
}

// question notes that sudo asks.
func (f *Filter) question() Event {
	event := Asked
	if f.asked {
		event = AskedAgain
		if !f.spoke {
			event = AskedMore
		}
		f.mute = f.tokens.Answering()
	}
	f.asked, f.spoke = true, false
	return event
}

// show adds what sudo or the command says.
func (f *Filter) show(out, data []byte) []byte {
	if len(bytes.TrimSpace(data)) > 0 {
		f.spoke = true
	}
	if f.mute || f.given.Load() {
		return out
	}
	if f.tokens.Answering() {
		f.said = append(f.said, data[max(0, len(data)-maxSaid):]...)
		f.said = f.said[max(0, len(f.said)-maxSaid):]
	}
	return append(out, data...)
}

// Close returns what was held back.
func (f *Filter) Close() []byte {
	held := f.held
	f.held = nil
	if f.behind == afterToken {
		return nil // it is of a question that was cut off
	}
	return f.show(nil, held)
}

// passSudo takes away what sudo writes behind its token. wait says that more data must
// come to decide.
func (f *Filter) passSudo(data []byte) (rest []byte, wait bool) {
	if f.behind == afterToken {
		end, newline := f.endOfQuestion(data)
		if end < 0 && len(data) < maxQuestion {
			return data, true
		}
		data = data[max(end, 0):]
		f.behind = afterQuestion
		if newline {
			f.behind = text
		}
	}
	if f.behind == text {
		return data, false
	}
	n, wait := f.echo(data)
	if wait {
		return data, true
	}
	f.behind = text
	return data[n:], false
}

// endOfQuestion returns where the question of sudo-rs ends, of which data is what
// stands behind the token: "] " and the words of PAM, mostly "Password: ". newline says
// that it has ended its line.
func (f *Filter) endOfQuestion(data []byte) (end int, newline bool) {
	end = -1
	consider := func(at int, line bool) {
		if at >= 0 && (end < 0 || at < end) {
			end, newline = at, line
		}
	}
	if i := bytes.Index(data, []byte(": ")); i >= 0 {
		consider(i+len(": "), false)
	}
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		consider(i+1, true)
	}
	for _, n := range f.needles {
		if n.kind != quoted {
			consider(bytes.Index(data, []byte(n.text)), true)
		}
	}
	return end, newline
}

// echo returns the length of what stands for typed letters and of the line end behind
// it. sudo writes these on a terminal, sudo-rs ends the line everywhere. Without a
// terminal nothing follows the question of sudo but, if nobody answers, the output of
// the command. Some wait is needed to tell.
func (f *Filter) echo(data []byte) (length int, wait bool) {
	secret := "\x00" // no answer holds one
	if hidden := f.secret.Load(); hidden != nil {
		secret = *hidden
	}
	i := 0
	if f.tokens.Answering() { // until the start, everything is of sudo
		for i < len(data) && i < maxEcho {
			n := 1
			switch rest := data[i:]; {
			case bytes.HasPrefix(rest, []byte(secret)):
				n = len(secret)
			case strings.HasPrefix(secret, string(rest)):
				return 0, true
			case bytes.IndexByte([]byte("*\b "), rest[0]) >= 0:
			case bytes.HasPrefix(rest, []byte("\x1b[0K")):
				n = len("\x1b[0K")
			case bytes.HasPrefix(rest, []byte("\x1b[K")):
				n = len("\x1b[K")
			case strings.HasPrefix("\x1b[0K", string(rest)):
				return 0, true
			default:
				n = 0
			}
			if n == 0 {
				break
			}
			i += n
		}
	}
	rest := data[i:]
	switch {
	case i >= maxEcho:
		return 0, false
	case len(rest) == 0, len(rest) == 1 && rest[0] == '\r':
		return 0, true
	case rest[0] == '\r' && rest[1] == '\n':
		return i + len("\r\n"), false
	case rest[0] == '\n' && (f.tokens.Answering() || f.behind == afterQuestion):
		return i + len("\n"), false
	}
	return 0, false
}

// find returns the first needle in data, of several there the longest.
func find(data []byte, needles []needle) (at int, found *needle) {
	at = -1
	for k := range needles {
		n := &needles[k]
		i := bytes.Index(data, []byte(n.text))
		if i >= 0 && (at < 0 || i < at || i == at && len(n.text) > len(found.text)) {
			at, found = i, n
		}
	}
	return at, found
}

// beginning returns how many bytes at the end of data may begin a needle.
func beginning(data []byte, needles []needle) int {
	most := 0
	for _, n := range needles {
		for k := min(len(data), len(n.text)-1); k > most; k-- {
			if string(data[len(data)-k:]) == n.text[:k] {
				most = k
				break
			}
		}
	}
	return most
}
