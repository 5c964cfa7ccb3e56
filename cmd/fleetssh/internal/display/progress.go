package display

import (
	"fmt"
	"sync/atomic"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// progress wraps a display and shows the progress of a run in a status line.
type progress struct {
	Display
	screen      *termline.Screen
	total       int
	begun       time.Time
	outstanding *results.Outstanding

	started               []bool // by host
	done, failed, skipped atomic.Int64
	running               atomic.Int64
	line                  *statusLine
}

// newProgress returns a display that shows progress and passes events on to next.
func newProgress(screen *termline.Screen, next Display, t *results.Summary) *progress {
	total := len(t.Hosts)
	p := &progress{Display: next, screen: screen, total: total, started: make([]bool, total), begun: time.Now(), outstanding: t.Outstanding}
	p.line = startStatus(screen, p.text)
	return p
}

// text returns the status line.
func (p *progress) text() string {
	done, running, failed := p.done.Load(), p.running.Load(), p.failed.Load()
	text := fmt.Sprintf(", %d running", running)
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	if unbegun := p.skipped.Load(); unbegun > 0 {
		text += fmt.Sprintf(", %d skipped", unbegun)
	}
	text += ", " + time.Since(p.begun).Round(time.Second).String()
	long := fmt.Sprintf("%d of %s done%s", done, selection.CountHosts(p.total), text)
	return fit(p.screen, withStragglers(long, p.outstanding), long, fmt.Sprintf("%d/%d done%s", done, p.total, text), fmt.Sprintf("%d/%d%s", done, p.total, text))
}

// withStragglers adds the slowest hosts to a status line.
func withStragglers(text string, waiting *results.Outstanding) string {
	if names := waiting.Stragglers(); names != "" {
		text += ": " + names
	}
	return text
}

func (p *progress) Show(ev fleetssh.Event) {
	if ev.Kind == fleetssh.Started {
		p.started[ev.Index] = true
		p.running.Add(1)
	}
	p.Display.Show(ev)
}

func (p *progress) Finished(r *results.Result) {
	if p.started[r.Index] {
		p.running.Add(-1)
	}
	switch {
	case r.Outcome.Kind == fleetssh.Skipped:
		p.skipped.Add(1)
	case r.OK:
		p.done.Add(1)
	default:
		p.done.Add(1)
		p.failed.Add(1)
	}
	p.Display.Finished(r)
}

func (p *progress) Close() {
	p.end()
	p.Display.Close()
}

// end removes the status line. It may be called twice.
func (p *progress) end() { p.line.end() }
