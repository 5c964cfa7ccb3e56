// Package sudo talks to sudo -S through a stream of output: it finds sudo's question and the start
// of the command, and removes from the stream what is not output of the command. It knows sudo
// since 1.8, and sudo-rs.
package sudo

import (
	"bytes"
	"strings"
	"sync/atomic"
)

// Event is something that a Filter has found.
type Event int

const (
	// Asked means that sudo asks for the password.
	Asked Event = iota + 1
	// AskedAgain means that sudo has rejected the password it got, and asks again.
	AskedAgain
	// AskedMore means that sudo asks again without a message about the first answer: it wants
	// something besides the password.
	AskedMore
	// Started means that the command runs, and reads the rest of standard input.
	Started
)

// Filter removes the sentinels from a stream, and what sudo prints around them: the rest of
// sudo-rs's question, and on a terminal the line end and what is shown for typed characters. Until
// the command starts, it also removes quotes of those words of the command line that contain
// sentinels. It holds back less than a kilobyte.
type Filter struct {
	sentinels *Sentinels
	needles   []needle
	secret    atomic.Pointer[string] // see Hide
	held      []byte                 // the end of the stream so far, which may begin a needle
	at        position
	messages  []byte // the tail of what was shown before the start
	asked     bool
	spoke     bool        // something was shown after the last question
	mute      bool        // sudo asks again and is not answered: its messages are not shown
	gaveUp    atomic.Bool // see GiveUp
	off       bool        // the command runs; the rest passes as it is
}

// needle is a text that the filter searches for.
type needle struct {
	text string
	kind needleKind
}

type needleKind int

const (
	quoted   needleKind = iota // part of the command line
	prompt                     // the question
	question                   // the question of sudo-rs, up to the sentinel
	started
)

// position says what the filter has read last.
type position int

const (
	text          position = iota
	afterSentinel          // of sudo-rs, whose question goes on
	afterPrompt            // of sudo: an echo of typed characters and a line end may follow
	afterQuestion          // of sudo-rs, which always ends the line
)

const (
	maxQuestion = 600 // PAM_MAX_MSG_SIZE, and what sudo-rs prints around it
	maxEcho     = 600
	maxMessages = 1 << 10
)

// NewFilter returns a Filter that searches for the sentinels.
func NewFilter(sentinels *Sentinels) *Filter {
	f := &Filter{sentinels: sentinels}
	f.needles = []needle{{"[sudo: " + sentinels.prompt.String(), question}, {sentinels.prompt.String(), prompt}}
	if sentinels.Answering() {
		f.needles = append(f.needles, needle{sentinels.started.String(), started})
	}
	for _, text := range sentinels.quotes() {
		f.needles = append(f.needles, needle{text, quoted})
	}
	return f
}

// Off reports whether the rest of the stream passes as it is, so that Write need not be called.
func (f *Filter) Off() bool { return f.off && len(f.held) == 0 }

// Hide removes the answer from the stream if a terminal echoes it: sudo may ask before it has
// turned the echo off. Hide may be called during Write.
func (f *Filter) Hide(answer string) {
	if answer != "" {
		f.secret.Store(&answer)
	}
}

// GiveUp says that sudo gets no answer. What sudo prints about that is not shown. GiveUp may be
// called during Write.
func (f *Filter) GiveUp() { f.gaveUp.Store(true) }

// Write takes the next bytes of the stream. It returns the bytes to show, valid until the next
// call, and the events found, in order.
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
			f.at = afterPrompt
			if n.kind == question {
				f.at = afterSentinel
			}
		}
	}
}

// question records that sudo asks.
func (f *Filter) question() Event {
	event := Asked
	if f.asked {
		event = AskedAgain
		if !f.spoke {
			event = AskedMore
		}
		f.mute = f.sentinels.Answering()
	}
	f.asked, f.spoke = true, false
	return event
}

// show appends output of sudo or of the command.
func (f *Filter) show(out, data []byte) []byte {
	if len(bytes.TrimSpace(data)) > 0 {
		f.spoke = true
	}
	if f.mute || f.gaveUp.Load() {
		return out
	}
	if f.sentinels.Answering() {
		f.messages = append(f.messages, data[max(0, len(data)-maxMessages):]...)
		f.messages = f.messages[max(0, len(f.messages)-maxMessages):]
	}
	return append(out, data...)
}

// Close returns the bytes that were held back.
func (f *Filter) Close() []byte {
	held := f.held
	f.held = nil
	if f.at == afterSentinel {
		return nil // part of a question
	}
	return f.show(nil, held)
}

// passSudo removes what sudo prints after its sentinel. wait says that more data is needed to
// decide.
func (f *Filter) passSudo(data []byte) (rest []byte, wait bool) {
	if f.at == afterSentinel {
		end, newline := f.endOfQuestion(data)
		if end < 0 && len(data) < maxQuestion {
			return data, true
		}
		data = data[max(end, 0):]
		f.at = afterQuestion
		if newline {
			f.at = text
		}
	}
	if f.at == text {
		return data, false
	}
	n, wait := f.echo(data)
	if wait {
		return data, true
	}
	f.at = text
	return data[n:], false
}

// endOfQuestion returns where the question of sudo-rs ends. data follows the sentinel: "] " and
// PAM's prompt, usually "Password: ". end is -1 if it is not known yet. newline says that the line
// has ended, too.
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

// echo returns the length of what is shown for typed characters and of the line end after it. sudo
// prints these on a terminal only; sudo-rs always ends the line. Without a terminal, what follows
// sudo's question is, if nobody answers, output of the command. wait says that more data is needed.
func (f *Filter) echo(data []byte) (length int, wait bool) {
	secret := "\x00" // no answer contains it
	if hidden := f.secret.Load(); hidden != nil {
		secret = *hidden
	}
	i := 0
	if f.sentinels.Answering() { // everything before the start comes from sudo
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
	case rest[0] == '\n' && (f.sentinels.Answering() || f.at == afterQuestion):
		return i + len("\n"), false
	}
	return 0, false
}

// find returns the first needle in data, and the longest if several begin there.
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

// beginning returns how many bytes at the end of data may be the beginning of a needle.
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
