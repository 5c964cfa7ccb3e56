package fleetssh

import (
	"sync"
	"time"
)

// phases measures how long each phase of connecting takes. The SSH library calls
// back on goroutines of its own, and may still do so when a call has been given up.
type phases struct {
	mu     sync.Mutex // protects what follows
	now    Phase
	since  time.Time
	timing Timing
	work   *progress // is told; nil: nobody asks
}

// enter notes that a phase begins, and how long the one before took. The empty
// phase is that of being done.
func (p *phases) enter(phase Phase) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	took := now.Sub(p.since)
	switch p.now {
	case PhaseResolve:
		p.timing.Resolve += took
	case PhaseProxy:
		p.timing.Proxy += took
	case PhaseConnect:
		p.timing.Connect += took
	case PhaseHandshake, PhaseHostKey:
		p.timing.Handshake += took
	case PhaseAuth:
		p.timing.Auth += took
	}
	p.now, p.since = phase, now
	if phase != "" {
		p.work.enter(phase)
	}
}

func (p *phases) current() Phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// done ends the measuring and returns how long the phases took.
func (p *phases) done() Timing {
	p.enter("")
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.timing
}
