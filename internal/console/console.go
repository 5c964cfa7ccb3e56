// Package console runs command lines in a shell, one after another: it knows what the shell must
// be sent, and how the shell reports, among the output, that it is ready, that a line begins, and
// that a line has ended with an exit code. It is a state machine: it does no I/O and does not know
// SSH.
package console

import (
	_ "embed" // for what the shell is told
	"fmt"
	"strconv"
	"strings"

	"fleetssh/internal/sentinel"
	"fleetssh/internal/shellquote"
)

// The programs that the shell reads from its standard input. Names such as "@number@" are replaced.
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

// Stream is one of the two output streams of a shell.
type Stream int

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// Event is something that happens to the shell or to one of its lines.
type Event struct {
	Kind   Kind
	Line   uint64 // the number of the line, from 1; 0 before the first line
	Stream Stream // of Output and StreamEnded
	Data   []byte // of Output, valid during the call
	Status int    // of Ended: the exit code
}

// Kind is the kind of an [Event].
type Kind int

// The kinds of events.
const (
	Output      Kind = iota // a line has written Data; output between two lines counts as the second's
	Ready                   // the shell is ready for the first line
	Started                 // the shell has started a line, which can be interrupted from now on
	StreamEnded             // a line writes nothing more to Stream
	Ended                   // a line has ended
	Settled                 // no interrupt can be under way any more, see Settle
)

// Shell is the state of a shell. Its methods may not be called concurrently. They call the
// functions given to [New] before they return, on the same goroutine.
type Shell struct {
	sentinel sentinel.Text
	send     func(text string)
	emit     func(Event)

	scanners [2]scanner // by stream
	current  [2]uint64  // by stream: the line that output belongs to; 0: before the shell is ready
	number   uint64     // the line that runs or ran last
	running  bool
	status   int    // exit code of the line before
	process  int    // process ID of the shell
	caught   bool   // an interrupt was sent, and the shell has not settled since
	over     uint64 // the last line that a prompt has reported to be over
	endSent  bool   // the shell was sent the end of an interrupted line
	settling bool   // the next repeated prompt causes Settled
}

// New returns the state of a shell that has just been started. Methods call emit for each event,
// and send with text that the shell must be sent in addition. send must not block.
func New(send func(text string), emit func(Event)) *Shell {
	s := &Shell{sentinel: sentinel.New(), send: send, emit: emit}
	for i := range s.scanners {
		s.scanners[i].sentinel = []byte(s.sentinel.String())
	}
	return s
}

// SetUp returns what the shell must be sent first.
func (s *Shell) SetUp() string {
	return fill(setUpProgram, "@left@", s.sentinel.Left, "@right@", s.sentinel.Right)
}

// Line begins the next line. It returns the number of the line and the program that the shell must
// be sent to run it. No other line may run. from is the file on the host that the line reads as
// standard input.
func (s *Shell) Line(text, from string) (number uint64, program string) {
	s.number++
	s.running, s.endSent = true, false
	before := ""
	if s.status != 0 {
		before = fmt.Sprintf("sh -c 'exit %d' || ", s.status&0xff) // what the line finds in $?
	}
	// The blank keeps the text from being taken for an option of eval.
	program = fill(lineProgram, "@number@", strconv.FormatUint(s.number, 10), "@before@", before,
		"@text@", shellquote.Quote(" "+text), "@from@", shellquote.Quote(from))
	return s.number, program + "; " + endOf(s.number, "$?") + "\n"
}

// endOf returns the program that ends a line. status is a shell expression for the exit code.
func endOf(number uint64, status string) string {
	return fill(endProgram, "@number@", strconv.FormatUint(number, 10), "@status@", status)
}

// Process returns the process ID of the shell. 0 and 1 mean unknown.
func (s *Shell) Process() int { return max(s.process, 0) }

// Interrupting must be called before INT is sent to the line that runs.
func (s *Shell) Interrupting() {
	s.endSent, s.caught = false, true
	s.holdNewlines(true)
}

// Settle reports whether an INT may still be under way to the shell. It could interrupt the next
// line, even while the shell reads it. Before the next line, the shell must then be sent newlines
// until the event Settled: an idle shell answers an INT, and an empty line, with another prompt.
func (s *Shell) Settle() bool {
	s.settling = s.settling || s.caught
	return s.caught
}

// Lost records that the shell has ended, and with it the line that runs.
func (s *Shell) Lost() { s.running = false }

// Feed takes the next bytes of a stream.
func (s *Shell) Feed(stream Stream, data []byte) {
	s.scanners[stream].feed(data, func(data []byte) { s.write(stream, data) }, func(r report) { s.report(stream, r) })
}

// Close records that a stream has ended.
func (s *Shell) Close(stream Stream) {
	s.scanners[stream].flush(func(data []byte) { s.write(stream, data) })
}

func (s *Shell) write(stream Stream, data []byte) {
	s.emit(Event{Kind: Output, Line: s.current[stream], Stream: stream, Data: data})
}

// report takes the next report on a stream.
func (s *Shell) report(stream Stream, r report) {
	again := r.kind == prompt && s.over == r.line
	if r.kind == prompt && (r.ended == r.line || s.number > 0 && !s.running) {
		s.over = r.line
	}
	switch {
	case r.line != s.number: // repeated, about an earlier line
	case s.number == 0:
		s.ready(stream, r)
	case !s.running:
		if again && s.settling {
			s.settling, s.caught = false, false
			s.holdNewlines(false)
			s.emit(Event{Kind: Settled})
		}
	case r.kind == lineBegins:
		s.emit(Event{Kind: Started, Line: s.number})
	case r.kind == prompt:
		if r.ended != r.line && !s.endSent { // the line was interrupted
			s.endSent = true
			s.send(endOf(r.line, strconv.Itoa(r.status&0xff)) + "\n")
		}
	case s.current[stream] == s.number:
		s.emit(Event{Kind: StreamEnded, Line: s.number, Stream: stream})
		s.current[stream] = s.number + 1
		if s.current[1-stream] == s.number+1 {
			s.running, s.status = false, r.status
			s.emit(Event{Kind: Ended, Line: s.number, Status: r.status})
		}
	}
}

// ready records that the shell is ready on a stream.
func (s *Shell) ready(stream Stream, r report) {
	if r.kind != lineEnded || s.current[stream] != 0 {
		return
	}
	s.process = r.status
	s.current[stream] = 1
	if s.current[1-stream] != 0 {
		s.emit(Event{Kind: Ready})
	}
}

// holdNewlines says whether the newline before a prompt is dropped: an interrupted shell writes
// one.
func (s *Shell) holdNewlines(on bool) {
	for i := range s.scanners {
		s.scanners[i].holdNewline = on
	}
}

// fill replaces names such as "@number@" in a program. Each name is followed by its value.
func fill(program string, namesAndValues ...string) string {
	return strings.NewReplacer(namesAndValues...).Replace(program)
}
