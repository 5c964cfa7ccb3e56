package dial

import (
	"sync"
	"time"
)

// Phase is a step of connecting. The values are those of fleetssh.Phase.
type Phase string

const (
	phaseProxy     Phase = "proxy" // waiting for a hop
	phaseResolve   Phase = "resolve"
	phaseConnect   Phase = "connect"
	phaseHandshake Phase = "handshake"
	phaseHostKey   Phase = "host_key"
	phaseAuth      Phase = "auth"
	phaseForward   Phase = "forward"  // only in a Failure: the hop was lost, or refuses to forward
	phaseRetry     Phase = "retry"    // only for Call.Phase: the pause before the next attempt
	phaseConfirm   Phase = "confirm"  // only for Call.Phase: waiting until the user has decided about the host key
	phasePassword  Phase = "password" // only for Call.Phase: waiting until another host has checked the password
)

// phases measures how long each phase of connecting takes. It has a mutex because the SSH library
// runs callbacks on its own goroutines, possibly after the attempt has been given up.
type phases struct {
	mu      sync.Mutex // protects what follows
	now     Phase
	since   time.Time
	timing  Timing
	onEnter func(phase Phase) // called when a phase begins; or nil
}

// enter starts a phase and records the duration of the one before. The empty phase ends the
// measurement.
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
	if phase != "" && p.onEnter != nil {
		p.onEnter(phase)
	}
}

func (p *phases) current() Phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// done ends the measurement and returns the durations.
func (p *phases) done() Timing {
	p.enter("")
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.timing
}
