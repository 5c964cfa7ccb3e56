package termline

import (
	"io"
	"sync"
	"time"
)

const (
	flushSize  = 32 << 10
	flushDelay = 5 * time.Millisecond
	keepSize   = 256 << 10 // a larger buffer, after a long line, is freed
	heldSize   = 1 << 20   // how much is kept while the output is held back; then it blocks
)

// stream collects lines for one writer.
type stream struct {
	w        io.Writer
	terminal bool
	colored  bool
	status   *status // erased while writing; nil if w is not a terminal, or there is none

	mu       sync.Mutex // protects what follows, and is held while writing
	buf      []byte     // whole lines
	timer    *time.Timer
	armed    bool // the timer will flush
	err      error
	onFail   func(error)
	reported bool
	held     bool
	released *sync.Cond // nil until the output is held back for the first time
	covered  bool       // output waits in buf, because a view covers the terminal
	lost     int        // lines that were dropped meanwhile
}

func newStream(w io.Writer) *stream { return &stream{w: w, terminal: isTerminal(w)} }

func (s *stream) onFailure(call func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onFail = call
	s.reported = false
	s.report()
}

// line adds a line after a prefix.
func (s *stream) line(prefix, text string, visible bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, prefix...)
	if visible {
		s.buf = AppendVisible(s.buf, text)
	} else {
		s.buf = append(s.buf, text...)
	}
	s.buf = append(s.buf, '\n')
	s.scheduleFlush()
}

// raw adds whole lines as they are.
func (s *stream) raw(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, text...)
	s.scheduleFlush()
}

// scheduleFlush writes the buffer if it is full, and otherwise sets the timer for it. A
// reader that does not read blocks all output from then on, as with any command.
func (s *stream) scheduleFlush() {
	switch {
	case s.covered:
		s.keep()
	case s.held:
		for s.held && len(s.buf) >= heldSize {
			s.released.Wait()
		}
	case len(s.buf) >= flushSize:
		s.write()
	case s.armed:
	case s.timer == nil:
		s.armed = true
		s.timer = time.AfterFunc(flushDelay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.armed = false
			s.write()
		})
	default:
		s.armed = true
		s.timer.Reset(flushDelay)
	}
}

// hold writes the buffer, and then holds back all output until release is called.
func (s *stream) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write()
	if s.released == nil {
		s.released = sync.NewCond(&s.mu)
	}
	s.held = true
}

func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	s.write()
	s.released.Broadcast()
}

func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write()
}

func (s *stream) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.write()
	return s.err
}

// write writes the buffer in one call, unless the output is held back.
func (s *stream) write() {
	if s.held || s.covered {
		return
	}
	if len(s.buf) > 0 && s.err == nil {
		if s.status != nil {
			s.status.mu.Lock()
			s.status.wipe()
		}
		_, s.err = s.w.Write(s.buf)
		if s.status != nil {
			s.status.draw()
			s.status.mu.Unlock()
		}
		s.report()
	}
	s.buf = s.buf[:0]
	if cap(s.buf) > keepSize {
		s.buf = nil
	}
}

func (s *stream) report() {
	if s.err != nil && s.onFail != nil && !s.reported {
		s.reported = true
		s.onFail(s.err)
	}
}
