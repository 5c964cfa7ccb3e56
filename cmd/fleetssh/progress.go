package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"fleetssh"
	"fleetssh/internal/termline"
)

// progressTick is how often the status line is renewed, and progressPause how often
// a line is written where there is no terminal to renew one on.
const (
	progressTick  = 250 * time.Millisecond
	progressPause = 10 * time.Second
)

// progress keeps a status line that says how far a run is. Its display is the one that
// it stands beside.
type progress struct {
	display
	screen *termline.Screen
	total  int
	begun  time.Time

	started               []bool // by host
	done, failed, running atomic.Int64
	once                  sync.Once
	stop                  chan struct{}
	stopped               chan struct{}
}

// newProgress begins to show progress beside a display.
func newProgress(screen *termline.Screen, beside display, total int) *progress {
	p := &progress{display: beside, screen: screen, total: total, started: make([]bool, total), begun: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	go p.run()
	return p
}

func (p *progress) run() {
	defer close(p.stopped)
	tick, show := progressTick, p.screen.SetStatus
	if !p.screen.HasStatus() {
		tick, show = progressPause, p.say
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			show(p.text())
		}
	}
}

func (p *progress) say(text string) { p.screen.Message("fleetssh: " + text) }

// text is the status line.
func (p *progress) text() string {
	done, running, failed := p.done.Load(), p.running.Load(), p.failed.Load()
	text := fmt.Sprintf("%d of %d hosts done, %d running", done, p.total, running)
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text + ", " + time.Since(p.begun).Round(time.Second).String()
}

func (p *progress) show(ev fleetssh.Event) {
	if ev.Kind == fleetssh.Started {
		p.started[ev.Host] = true
		p.running.Add(1)
	}
	p.display.show(ev)
}

func (p *progress) finished(r *result) {
	p.done.Add(1)
	if p.started[r.index] {
		p.running.Add(-1)
	}
	if !r.ok {
		p.failed.Add(1)
	}
	p.display.finished(r)
}

func (p *progress) close() {
	p.end()
	p.display.close()
}

// end takes the status line away. It may be called twice.
func (p *progress) end() {
	p.once.Do(func() {
		close(p.stop)
		<-p.stopped
		if p.screen.HasStatus() {
			p.screen.SetStatus("")
		} else {
			p.say(p.text())
		}
	})
}
