// Package console knows how a shell runs one line after another: what the shell must be sent, and
// how it reports, in the midst of the output, that it is ready, that a line has begun, and that a line
// has ended with an exit code. It is a state machine: it does no I/O, and knows no SSH.
package console

import (
	_ "embed" // for what the shell is told
	"fmt"
	"strconv"
	"strings"

	"fleetssh/internal/sentinel"
	"fleetssh/internal/shellquote"
)

// The programs that the shell reads from its standard input. Names between two "@" are replaced.
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

// Event is something that happened to the shell or to one of its lines.
type Event struct {
	Kind   Kind
	Line   uint64 // which line, from 1; 0: before there could be one
	Stream Stream // of Output and StreamEnded
	Data   []byte // of Output, valid during the call
	Status int    // of Ended: the exit code
}

// Kind is the kind of an [Event].
type Kind int

// The kinds of events.
const (
	Output      Kind = iota // there is output of a line; what is written between two lines counts as that of the second
	Ready                   // the shell is ready for the first line
	Begun                   // the shell has begun to run a line, which can be interrupted from now on
	StreamEnded             // a line writes no more on a stream
	Ended                   // the line has ended
	Settled                 // no interrupt is under way any more, see Settle
)

// Shell is the state of a shell. It is not safe for concurrent use. The functions given to [New] are
// called during the methods, on the same goroutine.
type Shell struct {
	token sentinel.Text
	send  func(text string)
	emit  func(Event)

	marks    [2]marks  // in both streams
	into     [2]uint64 // the line that a stream belongs to; 0: none yet
	number   uint64    // of the line that runs or ran last
	running  bool
	last     int    // exit code of the line before
	process  int    // of the shell
	caught   bool   // an interrupt was sent after the shell has last settled
	behind   uint64 // the last line that the shell has reported to be over
	asked    bool   // the shell was sent the end of a line that was interrupted
	settling bool   // Settled is to be emitted
}

// New returns the state of a shell that has just been started. It calls emit for each event, and send
// with what else the shell must be sent; send must not block.
func New(send func(text string), emit func(Event)) *Shell {
	s := &Shell{token: sentinel.New(), send: send, emit: emit}
	for i := range s.marks {
		s.marks[i].token = []byte(s.token.String())
	}
	return s
}

// SetUp returns what the shell must be sent first.
func (s *Shell) SetUp() string {
	return fill(setUpProgram, "@left@", s.token.Left, "@right@", s.token.Right)
}

// Line begins the next line. It returns the number of the line and what the shell must be sent to run
// it. No other line may run. The standard input of the line is the file from on the host.
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

// endOf returns what ends a line; status is the exit code, in words of the shell.
func endOf(number uint64, status string) string {
	return fill(endProgram, "@number@", strconv.FormatUint(number, 10), "@status@", status)
}

// Process returns the process ID of the shell. 0 and 1 mean that it is not known.
func (s *Shell) Process() int { return max(s.process, 0) }

// Interrupting must be called before INT is sent to the line that runs.
func (s *Shell) Interrupting() {
	s.asked, s.caught = false, true
	s.hold(true)
}

// Settle reports whether an INT may still be under way to the shell. It would interrupt the next line,
// perhaps while the shell reads it. The shell must then be sent a newline, again and again, until
// there is an event Settled: an idle shell answers an INT, and an empty line, with another prompt.
func (s *Shell) Settle() bool {
	s.settling = s.settling || s.caught
	return s.caught
}

// Lost notes that the shell has ended, and the line that runs with it.
func (s *Shell) Lost() { s.running = false }

// Feed takes the next bytes of a stream.
func (s *Shell) Feed(stream Stream, data []byte) {
	s.marks[stream].feed(data, func(data []byte) { s.write(stream, data) }, func(said said) { s.note(stream, said) })
}

// Close notes that a stream has ended.
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
	case m.line != s.number: // of an earlier line, reported again
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
		if m.ended != m.line && !s.asked { // it was interrupted
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

// begins notes that the shell is ready on a stream.
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

// hold says whether the newline before a prompt is dropped: an interrupted shell writes one.
func (s *Shell) hold(on bool) {
	for i := range s.marks {
		s.marks[i].hold = on
	}
}

// fill replaces names such as "@number@" in a program. Each name is followed by its value.
func fill(program string, namesAndValues ...string) string {
	return strings.NewReplacer(namesAndValues...).Replace(program)
}
