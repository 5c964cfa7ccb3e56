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

// write writes the buffer in one call.
func (s *stream) write() {
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
