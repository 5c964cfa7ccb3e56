package fleetssh

import (
	"sync"
	"time"
)

// Progress describes what a call is doing on one host right now. See [ParallelClient.Working].
type Progress struct {
	Index int // of the host in ParallelClient.Hosts

	// Phase is what the call waits for: a phase of connecting ([PhaseProxy] to [PhaseAuth]), or
	// PhaseRetry, PhasePassword, PhaseConfirm, PhaseStart, PhaseRun, PhaseCopy or PhaseScan.
	Phase Phase

	// Since is when the phase began, and Begun when the call began to work on the host.
	Since, Begun time.Time

	// Attempt is the number of the current attempt to connect, counted from 1. In PhaseRetry it is
	// the number of the attempt that has failed. It is zero if the call needed no attempt.
	Attempt int
}

// Working returns what the calls of p that have not returned are doing, for a status line, for
// example. It has one entry for each host at work, in the order of Hosts. It leaves out hosts that
// have not begun or are done, commands that RunCommand has started and left running, and traffic
// through tunnels. Working does not block and may be called at any time, by many goroutines at once.
// It costs a few nanoseconds for each of Hosts.
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

// progress records what the calls of a [ParallelClient] do on one host. On a nil progress, enter and
// attempt do nothing: a single [Client] has no Working method.
type progress struct {
	mu    sync.Mutex // protects what follows
	calls int        // at work on the host; if zero, at is meaningless
	at    Progress
}

// begin records that a call begins to work on the host, and returns a function that records its
// end. Calls may be nested.
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

// enter records that a phase begins.
func (w *progress) enter(phase Phase) {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.at.Phase, w.at.Since = phase, time.Now()
	w.mu.Unlock()
}

// attempt records that an attempt to connect begins.
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
