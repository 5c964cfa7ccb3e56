package display

import (
	"sync"
	"time"

	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// progressWords are the values of --progress.
var progressWords = []string{"auto", "always", "plain", "never"}

// progressTick is how often the status line is updated.
const progressTick = 250 * time.Millisecond

// plainPause returns how long to wait for the next line of progress in a log, after a run has lasted
// for a time: a short run shows that it is alive, and a long one does not fill the log.
func plainPause(lasted time.Duration) time.Duration {
	switch {
	case lasted < time.Minute:
		return 10 * time.Second
	case lasted < 10*time.Minute:
		return 30 * time.Second
	case lasted < time.Hour:
		return time.Minute
	}
	return 5 * time.Minute
}

// statusLine shows progress below all other output, until end is called. In a log it writes a line
// every plainPause instead, and a last one at the end.
type statusLine struct {
	screen  *termline.Screen
	plain   bool              // for a log
	text    func() statusText // called on a goroutine of its own
	once    sync.Once
	stop    chan struct{}
	stopped chan struct{}
}

// startStatus shows progress as a value of --progress asks for. It returns nil if that is not at all.
func startStatus(screen *termline.Screen, progress string, text func() statusText) *statusLine {
	if progress == "never" || progress == "auto" && !screen.HasStatus() {
		return nil
	}
	s := &statusLine{screen: screen, plain: progress == "plain" || !screen.HasStatus(), text: text, stop: make(chan struct{}), stopped: make(chan struct{})}
	go s.run()
	return s
}

func (s *statusLine) run() {
	defer close(s.stopped)
	begun := time.Now()
	next := func() time.Duration {
		if s.plain {
			return plainPause(time.Since(begun))
		}
		return progressTick
	}
	timer := time.NewTimer(next())
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-timer.C:
			s.show()
			timer.Reset(next())
		}
	}
}

func (s *statusLine) show() {
	text := s.text()
	if s.plain {
		s.screen.Message("fleetssh: " + text.plain())
		s.screen.Flush()
		return
	}
	s.screen.SetStatus(text.fit(s.screen.StatusWidth())...)
}

// end removes the line. It may be called twice.
func (s *statusLine) end() {
	if s == nil {
		return
	}
	s.once.Do(func() {
		close(s.stop)
		<-s.stopped
		if s.plain {
			s.show()
		} else {
			s.screen.SetStatus()
		}
	})
}

// withStatus is a display that ends a status line before it shows the totals.
type withStatus struct {
	Display
	line *statusLine
}

func (s *withStatus) Close() {
	s.line.end()
	s.Display.Close()
}

// hostsStatus returns the text of the status line of a run that only counts hosts.
func hostsStatus(t *results.Summary) func() statusText {
	return func() statusText { return newStatusText("", t) }
}
