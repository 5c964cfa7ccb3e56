package fleetssh

import (
	"sync"
	"time"
)

// Progress is what a call is doing on one host right now. See
// [ParallelClient.Working].
type Progress struct {
	Index int // of the host in ParallelClient.Hosts

	// Phase is what the call waits for: one of connecting ([PhaseProxy] to [PhaseAuth]), or
	// PhaseRetry, PhasePassword, PhaseStart, PhaseRun, PhaseCopy or PhaseScan.
	Phase Phase

	// Since is when the phase began, and Begun when the call began with the host.
	Since, Begun time.Time

	// Attempt is which attempt to connect is under way, counted from 1. In the phase
	// PhaseRetry it is the one that has failed; zero if no attempt was needed.
	Attempt int
}

// Working returns what the calls of p that have not returned are doing, one entry for
// each host at work, in the order of Hosts: what a status line can say of them. Hosts
// that have not begun or are done are left out, and so are commands that RunCommand has
// started and left running, and what goes through tunnels. It waits for nothing and may
// be called at any time, by many goroutines at once. The cost is a few nanoseconds for
// each of Hosts.
func (p *ParallelClient) Working() []Progress {
	p.mu.Lock()
	slots := p.slots
	p.mu.Unlock()
	var working []Progress
	for i, s := range slots {
		if at, ok := s.work.now(); ok {
			at.Index = i
			working = append(working, at)
		}
	}
	return working
}

// progress notes what is done on one host. The methods do nothing if it is nil: nobody
// asks then.
type progress struct {
	mu    sync.Mutex // protects what follows
	calls int        // that are at work on the host; without any, at means nothing
	at    Progress
}

// begin notes that a call begins with the host, and returns what notes its end. Calls
// may be within one another.
func (w *progress) begin(phase Phase) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls++; w.calls == 1 {
		now := time.Now()
		w.at = Progress{Phase: phase, Since: now, Begun: now}
	}
	return w.end
}

func (w *progress) end() {
	w.mu.Lock()
	w.calls--
	w.mu.Unlock()
}

// enter notes that a phase begins.
func (w *progress) enter(phase Phase) {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.at.Phase, w.at.Since = phase, time.Now()
	w.mu.Unlock()
}

// attempt notes that an attempt to connect begins.
func (w *progress) attempt(n int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.at.Attempt = n
	w.mu.Unlock()
}

func (w *progress) now() (at Progress, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at, w.calls > 0
}
