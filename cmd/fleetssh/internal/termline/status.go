package termline

import (
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/clipperhouse/displaywidth"
	"golang.org/x/term"
)

// status is the status line, below everything else on a terminal. It is erased before other output
// and drawn again after it.
type status struct {
	err *stream // where it is shown

	mu      sync.Mutex // protects what follows, and is held while a terminal is written to
	spans   []Span
	shown   bool
	held    bool // nothing is shown
	covered bool // nothing is shown either: a view covers the terminal
}

// Span is a piece of the status line.
type Span struct {
	Style Style
	Text  string
}

// eraseLine moves to the beginning of the line and clears it (ECMA-48).
const eraseLine = "\r\x1b[K"

// HasStatus reports whether there can be a status line, because standard error is a terminal that
// can erase a line.
func (s *Screen) HasStatus() bool { return s.status != nil }

// SetStatus shows a line below everything else, or none without spans. The line is cut to the width of
// the terminal.
func (s *Screen) SetStatus(spans ...Span) {
	if s.status == nil {
		return
	}
	st := s.status
	st.mu.Lock()
	defer st.mu.Unlock()
	st.spans = slices.Clone(spans)
	for i := range st.spans {
		st.spans[i].Text = Visible(st.spans[i].Text)
	}
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

// hold hides the line, or shows it again.
func (st *status) hold(held bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.wipe()
	st.held = held
	st.draw()
}

// draw shows the line again. mu must be held.
func (st *status) draw() {
	if len(st.spans) == 0 || st.held || st.covered {
		return
	}
	room := st.width()
	if room == 0 { // not known
		room = math.MaxInt
	}
	var line strings.Builder
	for _, span := range st.spans {
		text := displaywidth.TruncateString(span.Text, room, "…")
		line.WriteString(st.err.paint(span.Style, text))
		if text != span.Text {
			break
		}
		room -= displaywidth.String(text)
	}
	st.shown = true
	st.put(line.String())
}

// put writes to the terminal. It ignores errors, because the status line is not essential.
func (st *status) put(text string) {
	_, _ = st.err.w.Write([]byte(text))
}
