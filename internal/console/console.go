// Package console knows what the shell of a console is told, and what it says about its lines in
// the midst of their output: that it is ready, that a line begins, that it has ended and how. It is
// a state machine that reads and writes nothing itself.
package console

import (
	_ "embed" // for what the shell is told
	"fmt"
	"strconv"
	"strings"

	"fleetssh/internal/mark"
	"fleetssh/internal/shellquote"
)

// The programs that the shell is given to read. What stands between two "@" is filled in.
var (
	//go:embed setup.sh
	setUpText string
	//go:embed line.sh
	lineText string
	//go:embed end.sh
	endText string

	setUpProgram = shellquote.Uncomment(setUpText)
	lineProgram  = shellquote.OneLine(lineText)
	endProgram   = shellquote.OneLine(endText)
)

// Stream is one of the two streams of a shell.
type Stream int

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// Event is something that has become of a shell or of one of its lines.
type Event struct {
	Kind   Kind
	Line   uint64 // which line, from 1; 0: before there could be one
	Stream Stream // of Output and StreamEnded
	Data   []byte // of Output, valid during the call
	Status int    // of Ended: the exit code
}

// Kind says what has happened.
type Kind int

// What can happen.
const (
	Output      Kind = iota // a line has written something, or what is in the background between two: then it comes with the next
	Ready                   // the shell waits for the first line
	Begun                   // the shell has begun with a line: it can be interrupted
	StreamEnded             // that was all that the line writes on a stream
	Ended                   // the line has ended
	Settled                 // no interrupt is on the way any more, see Settle
)

// Shell is what is known of a shell. Its methods, and the functions it calls, are called by one
// goroutine at a time.
type Shell struct {
	token mark.Mark
	send  func(text string)
	emit  func(Event)

	marks    [2]marks  // in both streams
	into     [2]uint64 // the line that a stream belongs to; 0: none yet
	number   uint64    // of the line that runs or ran last
	running  bool
	last     int    // exit code of the line before
	process  int    // of the shell
	caught   bool   // an interrupt was sent since the shell has last settled
	behind   uint64 // the last line that the shell has said to be behind it
	asked    bool   // the shell was told to say the end of a line that was broken off
	settling bool   // Settled is to be told
}

// New returns a shell that has been started and told nothing yet. It calls emit for what happens,
// and send, which must not wait, with what the shell is to be told besides.
func New(send func(text string), emit func(Event)) *Shell {
	s := &Shell{token: mark.New(), send: send, emit: emit}
	for i := range s.marks {
		s.marks[i].token = []byte(s.token.String())
	}
	return s
}

// SetUp returns what the shell is to be told first.
func (s *Shell) SetUp() string {
	return fill(setUpProgram, "@left@", s.token.Left, "@right@", s.token.Right)
}

// Line begins the next line, and returns its number and what the shell is to be told for it. None
// may run. The line reads from, a file on the host.
func (s *Shell) Line(text, from string) (number uint64, tell string) {
	s.number++
	s.running, s.asked = true, false
	before := ""
	if s.last != 0 {
		before = fmt.Sprintf("sh -c 'exit %d' || ", s.last&0xff) // what the line finds in $?
	}
	// The blank keeps the text from being taken for an option of eval.
	program := fill(lineProgram, "@number@", strconv.FormatUint(s.number, 10), "@before@", before,
		"@text@", shellquote.Quote(" "+text), "@from@", shellquote.Quote(from))
	return s.number, program + "; " + endOf(s.number, "$?") + "\n"
}

// endOf returns what ends a line of which the shell finds the exit code in status.
func endOf(number uint64, status string) string {
	return fill(endProgram, "@number@", strconv.FormatUint(number, 10), "@status@", status)
}

// Process returns the number of the shell's process; 0 or 1 is that of none.
func (s *Shell) Process() int { return max(s.process, 0) }

// Interrupting notes that INT is about to be sent to the line that runs.
func (s *Shell) Interrupting() {
	s.asked, s.caught = false, true
	s.hold(true)
}

// Settle reports whether an INT may still be on the way to the shell: it would break off the next
// line, perhaps in the middle of reading it. Then the shell has to be told a newline, again and again
// until there is an event Settled: an INT that the shell finds while it waits makes it say again that
// it waits, as an empty line does.
func (s *Shell) Settle() bool {
	s.settling = s.settling || s.caught
	return s.caught
}

// Lost ends the line that runs: the shell has ended.
func (s *Shell) Lost() { s.running = false }

// Feed takes what has come on a stream.
func (s *Shell) Feed(stream Stream, data []byte) {
	s.marks[stream].feed(data, func(data []byte) { s.write(stream, data) }, func(said said) { s.note(stream, said) })
}

// Close says that nothing more comes on a stream.
func (s *Shell) Close(stream Stream) {
	s.marks[stream].flush(func(data []byte) { s.write(stream, data) })
}

func (s *Shell) write(stream Stream, data []byte) {
	s.emit(Event{Kind: Output, Line: s.into[stream], Stream: stream, Data: data})
}

// note takes a mark.
func (s *Shell) note(stream Stream, m said) {
	again := m.kind == promptMark && s.behind == m.line
	if m.kind == promptMark && (m.ended == m.line || s.number > 0 && !s.running) {
		s.behind = m.line
	}
	switch {
	case m.line != s.number: // of a line before, said once more
	case s.number == 0:
		s.begins(stream, m)
	case !s.running:
		if again && s.settling {
			s.settling, s.caught = false, false
			s.hold(false)
			s.emit(Event{Kind: Settled})
		}
	case m.kind == beginMark:
		s.emit(Event{Kind: Begun, Line: s.number})
	case m.kind == promptMark:
		if m.ended != m.line && !s.asked { // it was broken off
			s.asked = true
			s.send(endOf(m.line, strconv.Itoa(m.status&0xff)) + "\n")
		}
	case s.into[stream] == s.number:
		s.emit(Event{Kind: StreamEnded, Line: s.number, Stream: stream})
		s.into[stream] = s.number + 1
		if s.into[1-stream] == s.number+1 {
			s.running, s.last = false, m.status
			s.emit(Event{Kind: Ended, Line: s.number, Status: m.status})
		}
	}
}

// begins notes that a stream is ready.
func (s *Shell) begins(stream Stream, m said) {
	if m.kind != endMark || s.into[stream] != 0 {
		return
	}
	s.process = m.status
	s.into[stream] = 1
	if s.into[1-stream] != 0 {
		s.emit(Event{Kind: Ready})
	}
}

// hold has newlines before a prompt held, which an interrupted shell writes for the eye.
func (s *Shell) hold(on bool) {
	for i := range s.marks {
		s.marks[i].hold = on
	}
}

// fill replaces names in a program, which are written between "@", by values: each name is followed
// by its value.
func fill(program string, namesAndValues ...string) string {
	return strings.NewReplacer(namesAndValues...).Replace(program)
}
