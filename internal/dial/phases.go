package dial

import (
	"sync"
	"time"
)

// Phase is a step of connecting. The values are the same as in the library's Phase.
type Phase string

const (
	phaseProxy     Phase = "proxy" // waiting for a hop
	phaseResolve   Phase = "resolve"
	phaseConnect   Phase = "connect"
	phaseHandshake Phase = "handshake"
	phaseHostKey   Phase = "host_key"
	phaseAuth      Phase = "auth"
	phaseForward   Phase = "forward"  // in a Failure: a hop that was lost, or does not forward
	phaseRetry     Phase = "retry"    // told to Call.Phase: the pause before the next attempt
	phasePassword  Phase = "password" // likewise: the wait for another host's verdict on the password
)

// phases measures how long each phase of connecting takes. The SSH library calls back on
// goroutines of its own, and may still do so when a call has been given up.
type phases struct {
	mu     sync.Mutex // protects what follows
	now    Phase
	since  time.Time
	timing Timing
	tell   func(phase Phase) // is told of each; nil: nobody asks
}

// enter records that a phase begins, and how long the one before took. The empty phase means
// that connecting is over.
func (p *phases) enter(phase Phase) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	took := now.Sub(p.since)
	switch p.now {
	case phaseResolve:
		p.timing.Resolve += took
	case phaseProxy:
		p.timing.Proxy += took
	case phaseConnect:
		p.timing.Connect += took
	case phaseHandshake, phaseHostKey:
		p.timing.Handshake += took
	case phaseAuth:
		p.timing.Auth += took
	}
	p.now, p.since = phase, now
	if phase != "" && p.tell != nil {
		p.tell(phase)
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
