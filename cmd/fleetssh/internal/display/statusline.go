package display

import (
	"sync"
	"time"

	"github.com/clipperhouse/displaywidth"

	"fleetssh/cmd/fleetssh/internal/termline"
)

// progressTick is how often the status line is updated. Without a terminal, a line is written every
// progressPause.
const (
	progressTick  = 250 * time.Millisecond
	progressPause = 10 * time.Second
)

// statusLine shows progress below all other output, until end is called.
type statusLine struct {
	screen  *termline.Screen
	text    func() string // called on a goroutine of its own
	once    sync.Once
	stop    chan struct{}
	stopped chan struct{}
}

// minStatusWidth is the number of columns below which no text fits.
const minStatusWidth = 24

// fit returns the first of several texts that fits the width of the terminal. If none fits, it returns
// the first, which is cut when shown.
func fit(screen *termline.Screen, texts ...string) string {
	width := screen.StatusWidth()
	if width < minStatusWidth { // or not known
		return texts[0]
	}
	for _, text := range texts {
		if displaywidth.String(text) <= width {
			return text
		}
	}
	return texts[0]
}

func startStatus(screen *termline.Screen, text func() string) *statusLine {
	s := &statusLine{screen: screen, text: text, stop: make(chan struct{}), stopped: make(chan struct{})}
	go s.run()
	return s
}

func (s *statusLine) run() {
	defer close(s.stopped)
	tick, show := progressTick, s.screen.SetStatus
	if !s.screen.HasStatus() {
		tick, show = progressPause, s.message
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			show(s.text())
		}
	}
}

func (s *statusLine) message(text string) { s.screen.Message("fleetssh: " + text) }

// end removes the line. It may be called twice.
func (s *statusLine) end() {
	s.once.Do(func() {
		close(s.stop)
		<-s.stopped
		if s.screen.HasStatus() {
			s.screen.SetStatus("")
		} else {
			s.message(s.text())
		}
	})
}
