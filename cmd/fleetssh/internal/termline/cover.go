package termline

import (
	"bytes"
	"fmt"
)

// Cover is a full-screen view, which has the terminal for itself.
type Cover struct {
	Leave  func()            // gives the terminal back, because the user is asked a question
	Return func()            // takes it again
	Notice func(line string) // is called with each message; nil: it is not
}

// SetCover keeps all output for the terminal until uncover is called, except while a question is asked.
// It keeps at most heldSize for each stream; more is dropped and counted.
func (s *Screen) SetCover(c Cover) (uncover func()) {
	s.asking.Lock()
	defer s.asking.Unlock()
	s.Flush()
	s.cover.Store(&c)
	s.covered(true)
	return func() {
		s.asking.Lock()
		defer s.asking.Unlock()
		if s.cover.CompareAndSwap(&c, nil) {
			s.covered(false)
		}
	}
}

// leaveCover makes room for a question. asking must be held, and still be held when back is called.
func (s *Screen) leaveCover() (back func()) {
	c := s.cover.Load()
	if c == nil {
		return func() {}
	}
	c.Leave()
	s.covered(false)
	return func() {
		s.covered(true)
		c.Return()
	}
}

// notice shows a message in the view that covers the terminal.
func (s *Screen) notice(line string) {
	if c := s.cover.Load(); c != nil && c.Notice != nil {
		c.Notice(line)
	}
}

// covered makes output wait, or writes what has waited.
func (s *Screen) covered(on bool) {
	if s.status != nil {
		s.status.mu.Lock()
		if on {
			s.status.wipe()
		}
		s.status.covered = on
		s.status.mu.Unlock()
	}
	s.out.cover(on)
	if s.err != s.out {
		s.err.cover(on)
	}
}

func (s *stream) cover(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.covered = on && s.terminal
	if s.covered {
		return
	}
	if s.lost > 0 {
		s.buf = fmt.Appendf(s.buf, "fleetssh: %d more lines were dropped while the view covered the terminal\n", s.lost)
		s.lost = 0
	}
	s.write()
}

// keep bounds what waits. Waiting for room, as while a question is open, would stop the run until the
// user closes the view. mu must be held.
func (s *stream) keep() {
	if len(s.buf) <= heldSize {
		return
	}
	end := bytes.LastIndexByte(s.buf[:heldSize], '\n') + 1
	s.lost += bytes.Count(s.buf[end:], []byte("\n"))
	s.buf = s.buf[:end]
}
