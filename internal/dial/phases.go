package dial

import (
	"sync"
	"time"
)

// phases measures how long each phase of connecting takes. The SSH library calls back on
// goroutines of its own, and may still do so when a call has been given up.
type phases struct {
	mu     sync.Mutex // protects what follows
	now    string
	since  time.Time
	timing Timing
	tell   func(phase string) // is told of each; nil: nobody asks
}

// enter records that a phase begins, and how long the one before took. The empty phase means
// that connecting is over.
func (p *phases) enter(phase string) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	took := now.Sub(p.since)
	switch p.now {
	case "resolve":
		p.timing.Resolve += took
	case "proxy":
		p.timing.Proxy += took
	case "connect":
		p.timing.Connect += took
	case "handshake", "host_key":
		p.timing.Handshake += took
	case "auth":
		p.timing.Auth += took
	}
	p.now, p.since = phase, now
	if phase != "" && p.tell != nil {
		p.tell(phase)
	}
}

func (p *phases) current() string {
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
