// Package termline writes lines to the screen: whole, in order, in few writes, and without control
// characters that could act on the terminal.
//
// The rules of the screen:
//   - Standard output carries the standard output of the hosts, standard error everything else. If
//     both are the same file, they share a buffer, so that lines keep their order.
//   - Lines are written whole and in batches: after 32 KiB, or 5 ms after the first line.
//   - On a terminal, control characters in lines are made visible. Elsewhere the output of hosts is
//     unchanged. Messages of the program are sanitized everywhere.
//   - On a terminal there may be a status line below everything else.
//   - The first error of standard output is reported once, and later output is dropped: a closed
//     pipe must not make the program hang.
package termline

import (
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/term"
)

// Screen is the output of a command. It is safe for concurrent use.
type Screen struct {
	out, err *stream
	status   *status               // nil: standard error is not a terminal, or one that cannot erase
	asking   sync.Mutex            // held while a question is put to the user or the terminal is lent
	cover    atomic.Pointer[Cover] // the view that covers the terminal; nil: none
}

// New returns a screen over the two streams of a process.
func New(stdout, stderr io.Writer) *Screen {
	s := &Screen{out: newStream(stdout)}
	s.err = s.out
	if !same(stdout, stderr) {
		s.err = newStream(stderr)
	}
	if s.err.terminal && os.Getenv("TERM") != "dumb" {
		s.status = &status{err: s.err}
		s.err.status = s.status
		if s.out.terminal {
			s.out.status = s.status
		}
	}
	s.SetColors(ColorsAuto)
	return s
}

// OutOnly returns a screen that writes to standard output what this one writes to standard error.
func (s *Screen) OutOnly() *Screen { return &Screen{out: s.out, err: s.out} }

// OutIsTerminal reports whether standard output is a terminal.
func (s *Screen) OutIsTerminal() bool { return s.out.terminal }

// OnFailure sets a function that is called, at most once, when a write to standard output fails. It
// is called on the goroutine that writes, and must not use the screen.
func (s *Screen) OnFailure(call func(error)) { s.out.onFailure(call) }

// Out shows a line of a host on standard output, after prefix.
func (s *Screen) Out(prefix, line string) { s.out.line(prefix, line, s.out.terminal) }

// Err shows a line of a host on standard error, after prefix.
func (s *Screen) Err(prefix, line string) { s.err.line(prefix, line, s.err.terminal) }

// Print writes whole lines of our own to standard output, unchanged.
func (s *Screen) Print(text []byte) { s.out.raw(text) }

// Message shows one line of our own on standard error. It makes control characters visible, because
// the line may quote text of hosts. The words "fleetssh: error:", "fleetssh: warning:" and "hint:" at
// its beginning have their styles.
func (s *Screen) Message(line string) {
	before, lead, rest := splitLead(line)
	s.err.line(before+s.err.paint(lead.Style, lead.Text), rest, true)
	s.notice(line)
}

// Styled does the same with the styles of spans.
func (s *Screen) Styled(spans ...Span) {
	var line strings.Builder
	var text strings.Builder
	for _, span := range spans {
		line.WriteString(s.err.paint(span.Style, Visible(span.Text)))
		text.WriteString(span.Text)
	}
	s.err.line(line.String(), "", true)
	s.notice(text.String())
}

// Terminals reports which of the streams are terminals.
func (s *Screen) Terminals() (out, err bool) { return s.out.terminal, s.err.terminal }

// Flush writes the buffers.
func (s *Screen) Flush() {
	s.out.flush()
	s.err.flush()
}

// Failure writes the buffers and returns the first error of standard output.
func (s *Screen) Failure() error {
	s.Flush()
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.err
}

// Close removes the status line, writes the buffers and returns the first error of standard output.
func (s *Screen) Close() error {
	s.SetStatus()
	s.err.close()
	return s.out.close()
}

// same reports whether two writers are the same file.
func same(a, b io.Writer) bool {
	if f, ok := a.(*os.File); ok {
		g, ok := b.(*os.File)
		if !ok {
			return false
		}
		x, errX := f.Stat()
		y, errY := g.Stat()
		return errX == nil && errY == nil && os.SameFile(x, y)
	}
	return false
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
