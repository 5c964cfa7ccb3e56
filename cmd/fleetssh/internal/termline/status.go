package termline

import (
	"sync"

	"github.com/clipperhouse/displaywidth"
	"golang.org/x/term"
)

// status is the status line, below everything else on a terminal. It is erased before other output
// and drawn again after it.
type status struct {
	err *stream // where it is shown

	mu    sync.Mutex // protects what follows, and is held while a terminal is written to
	text  string
	shown bool
}

// eraseLine moves to the beginning of the line and clears it (ECMA-48).
const eraseLine = "\r\x1b[K"

// HasStatus reports whether there can be a status line, because standard error is a terminal.
func (s *Screen) HasStatus() bool { return s.status != nil }

// SetStatus shows a line below everything else, or none if it is empty. It is cut to
// the width of the terminal.
func (s *Screen) SetStatus(text string) {
	if s.status == nil {
		return
	}
	st := s.status
	st.mu.Lock()
	defer st.mu.Unlock()
	st.text = Visible(text)
	st.wipe()
	st.draw()
}

// StatusWidth returns how many columns a status line may have, 0 if that is not known.
func (s *Screen) StatusWidth() int {
	if s == nil || s.status == nil {
		return 0
	}
	return s.status.width()
}

// width returns the number of usable columns. The last one stays free, because some terminals wrap
// after it.
func (st *status) width() int {
	f, ok := st.err.w.(interface{ Fd() uintptr })
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return max(width-1, 0)
}

// wipe clears the line. mu must be held.
func (st *status) wipe() {
	if st.shown {
		st.shown = false
		st.put(eraseLine)
	}
}

// draw shows the line again. mu must be held.
func (st *status) draw() {
	if st.text == "" {
		return
	}
	text := st.text
	if width := st.width(); width > 0 {
		text = displaywidth.TruncateString(text, width, "…")
	}
	st.shown = true
	st.put(text)
}

// put writes to the terminal. It ignores errors, because the status line is not essential.
func (st *status) put(text string) {
	_, _ = st.err.w.Write([]byte(text))
}
