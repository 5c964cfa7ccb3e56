// Package termline knows how lines get to the screen: whole, in order, in few
// writes, and without a byte of theirs driving the terminal.
//
// The rules of the screen:
//   - Standard output carries what the hosts say, standard error everything else
//     and what they say there. If both are the same file, they share a buffer, so
//     that lines keep their order.
//   - Lines are written whole and many at a time: when 32 KiB have come together,
//     or 5 ms after the first of them.
//   - On a terminal, control characters in lines are made visible. Elsewhere the
//     bytes of hosts pass unchanged. Messages are made harmless everywhere.
//   - On a terminal there may be a status line, below everything else.
//   - The first error of standard output is reported once, and what comes after it
//     is dropped: a reader that has gone away is no reason to hang.
package termline

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Screen is where a command shows things. Its methods may be called by many
// goroutines at once.
type Screen struct {
	out, err *stream
	status   *status    // nil: there is no place for one
	asking   sync.Mutex // held while a question is put to the user or the terminal is lent
}

// New returns a screen over the two streams of a process.
func New(stdout, stderr io.Writer) *Screen {
	s := &Screen{out: newStream(stdout)}
	s.err = s.out
	if !same(stdout, stderr) {
		s.err = newStream(stderr)
	}
	if s.err.terminal {
		s.status = &status{err: s.err}
		s.err.status = s.status
		if s.out.terminal {
			s.out.status = s.status
		}
	}
	s.SetColors(ColorsAuto)
	return s
}

// OutOnly returns a screen that shows on standard output what this one shows on
// standard error.
func (s *Screen) OutOnly() *Screen { return &Screen{out: s.out, err: s.out} }

// OnFailure sets what to call, at most once, when standard output cannot be
// written. It is called on the goroutine that writes, and must not use the screen.
func (s *Screen) OnFailure(call func(error)) { s.out.onFailure(call) }

// Out shows a line of a host on standard output, behind prefix.
func (s *Screen) Out(prefix, line string) { s.out.line(prefix, line, s.out.terminal) }

// Err shows a line of a host on standard error, behind prefix.
func (s *Screen) Err(prefix, line string) { s.err.line(prefix, line, s.err.terminal) }

// Print writes text of our own, whole lines, to standard output as it is.
func (s *Screen) Print(text []byte) { s.out.raw(text) }

// Message shows one line of our own on standard error. What it quotes from hosts
// is made harmless.
func (s *Screen) Message(line string) { s.err.line("", line, true) }

// Flush writes what is waiting.
func (s *Screen) Flush() {
	s.out.flush()
	s.err.flush()
}

// Failure writes what is waiting and returns the first error of standard output.
func (s *Screen) Failure() error {
	s.Flush()
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.err
}

// Close writes what is waiting and returns the first error of standard output.
func (s *Screen) Close() error {
	s.SetStatus("")
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
