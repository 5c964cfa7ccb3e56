// Package presence knows when hosts are there: it polls them at a pace that servers tolerate, and
// reboots them.
//
// The rules of polling:
//   - An attempt is a login. sshd counts connections without one as an attack (PerSourcePenalties).
//   - Between two attempts on a host lies at least Every, and up to half as much again, by chance: hosts
//     that went away together are not asked together, which would be too much for a hop (MaxStartups).
//   - A refused login costs a penalty, so the next attempt is later; after a few the host is given up.
//   - While sshd turns away this address, nobody asks it.
package presence

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"fleetssh"
)

const (
	refusedPause = 30 * time.Second // after a refused login
	maxRefused   = 3                // refused logins in a row
	penaltyPause = 30 * time.Second // while sshd turns away this address
)

// Watch polls hosts.
type Watch struct {
	Client    *fleetssh.ParallelClient // of the hosts, which should be tried once per login (Attempts)
	Every     time.Duration            // least time between two attempts on a host
	Timeout   time.Duration            // for each host, from its first attempt
	Logins    int                      // attempts at once
	Begun     int                      // hosts that may be begun and not done; 0: any number
	Limited   bool                     // begin no more hosts once more than MaxFailed have failed
	MaxFailed int
	Doing     fleetssh.Phase // what hosts do between two attempts, in words

	mu    sync.Mutex // protects what follows
	hosts []host
}

// An Attempt tries once to find out whether a host is as it should be. It returns nil if it is, and
// [*NotYet] or the error of a login if the host is to be asked again. Calls overlap.
type Attempt func(ctx context.Context, i int) error

// NotYet says that a host is not yet as it should be, and why.
type NotYet struct {
	Reason string
	Err    error // the cause, which decides on the pause; nil: none
}

// Error implements [error].
func (e *NotYet) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *NotYet) Unwrap() error { return e.Err }

// GivenUp says that Timeout has passed.
type GivenUp struct {
	Limit time.Duration
	Last  error // of the last attempt; nil: none has ended
}

// Error implements [error].
func (e *GivenUp) Error() string { return fmt.Sprintf("after %v: %v", e.Limit, e.Last) }

// Unwrap returns the error of the last attempt.
func (e *GivenUp) Unwrap() error { return e.Last }

// ErrNotBegun is the error of a host that was not begun.
var ErrNotBegun = errors.New("not begun")

// End is how the watch of a host ended.
type End struct {
	Index    int
	Err      error // nil: it is as it should be; [*GivenUp], [ErrNotBegun], that of the context, or what stands in the way
	Attempts int
	After    time.Duration // since its first attempt
}

// host is the state of one host.
type host struct {
	begun, done bool
	began, due  time.Time
	since       time.Time // of the current attempt or pause
	trying      bool
	attempts    int
	refused     int // in a row
	last        error
}

// Run polls all hosts of the client until each is as it should be, fails, or is given up, or until ctx
// ends. It calls done for each of them, on the goroutine of Run.
func (w *Watch) Run(ctx context.Context, attempt Attempt, done func(End)) {
	n := len(w.Client.Hosts)
	w.mu.Lock()
	w.hosts = make([]host, n)
	w.mu.Unlock()
	r := &run{Watch: w, ctx: ctx, attempt: attempt, done: done, results: make(chan outcome, w.Logins), queue: queue{hosts: w.hosts}}
	for r.next < n || r.open > 0 {
		r.start()
		if r.next == n && r.open == 0 {
			break
		}
		r.wait()
	}
}

// run is one call of Run.
type run struct {
	*Watch
	ctx     context.Context
	attempt Attempt
	done    func(End)
	results chan outcome

	next   int   // the first host that has not begun
	open   int   // hosts that have begun and are not done
	trying int   // attempts under way
	failed int   // hosts
	queue  queue // hosts that wait for their next attempt
}

// outcome is how an attempt ended.
type outcome struct {
	index int
	err   error
}

// start starts attempts, as far as the limits allow, and ends hosts whose time is over.
func (r *run) start() {
	if r.ctx.Err() != nil || r.Limited && r.failed > r.MaxFailed {
		for ; r.next < len(r.hosts); r.next++ {
			r.done(End{Index: r.next, Err: ErrNotBegun})
		}
	}
	for r.ctx.Err() != nil && len(r.queue.due) > 0 {
		r.end(heap.Pop(&r.queue).(int), r.ctx.Err())
	}
	for r.trying < r.Logins {
		now := time.Now()
		switch {
		case len(r.queue.due) > 0 && !r.hosts[r.queue.due[0]].due.After(now):
			i := heap.Pop(&r.queue).(int)
			if h := &r.hosts[i]; now.Sub(h.began) >= r.Timeout {
				r.end(i, &GivenUp{r.Timeout, h.last})
				continue
			}
			r.try(i, now)
		case r.next < len(r.hosts) && (r.Begun == 0 || r.open < r.Begun):
			i := r.next
			r.next++
			r.open++
			r.mu.Lock()
			r.hosts[i].begun, r.hosts[i].began = true, now
			r.mu.Unlock()
			r.try(i, now)
		default:
			return
		}
	}
}

// try starts an attempt.
func (r *run) try(i int, now time.Time) {
	r.mu.Lock()
	h := &r.hosts[i]
	h.trying, h.since = true, now
	h.attempts++
	deadline := h.began.Add(r.Timeout)
	r.mu.Unlock()
	r.trying++
	go func() {
		ctx, cancel := context.WithDeadline(r.ctx, deadline)
		defer cancel()
		r.results <- outcome{i, r.attempt(ctx, i)}
	}()
}

// wait waits for an attempt to end, for the next one to be due, or for the end of the context.
func (r *run) wait() {
	var due <-chan time.Time
	if len(r.queue.due) > 0 && r.trying < r.Logins {
		timer := time.NewTimer(time.Until(r.hosts[r.queue.due[0]].due))
		defer timer.Stop()
		due = timer.C
	}
	stop := r.ctx.Done()
	if r.ctx.Err() != nil {
		stop = nil // the attempts end soon
	}
	select {
	case o := <-r.results:
		r.trying--
		r.ended(o)
	case <-due:
	case <-stop:
	}
}

// ended decides what follows an attempt.
func (r *run) ended(o outcome) {
	now := time.Now()
	h := &r.hosts[o.index]
	pause, final := r.pause(h, o.err)
	switch {
	case o.err == nil || final:
		r.end(o.index, o.err)
		return
	case r.ctx.Err() != nil:
		r.end(o.index, r.ctx.Err())
		return
	case now.Sub(h.began) >= r.Timeout:
		if h.last == nil || !errors.Is(o.err, context.DeadlineExceeded) {
			h.last = o.err
		}
		r.end(o.index, &GivenUp{r.Timeout, h.last})
		return
	}
	r.mu.Lock()
	h.last, h.trying, h.since = o.err, false, now
	h.due = now.Add(pause)
	if end := h.began.Add(r.Timeout); h.due.After(end) {
		h.due = end
	}
	r.mu.Unlock()
	heap.Push(&r.queue, o.index)
}

// end reports a host.
func (r *run) end(i int, err error) {
	r.mu.Lock()
	h := &r.hosts[i]
	h.done, h.trying = true, false
	e := End{Index: i, Err: err, Attempts: h.attempts, After: time.Since(h.began)}
	r.mu.Unlock()
	r.open--
	if err != nil {
		r.failed++
	}
	r.done(e)
}

// pause returns when to ask again after an error. final says that asking again is useless.
func (r *run) pause(h *host, err error) (pause time.Duration, final bool) {
	pause = r.Every + rand.N(r.Every/2+1)
	refused := false
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		switch e := cause.(type) {
		case *fleetssh.HostKeyError, *fleetssh.PKeyFileError, *fleetssh.PasswordError, *fleetssh.ConfigError, *fleetssh.SessionError, *FailedError, *unreachable:
			return 0, true
		case *fleetssh.AuthenticationError:
			refused = true
		case *fleetssh.ConnectionError:
			if TurnedAway(e) {
				return max(pause, penaltyPause+rand.N(penaltyPause/2)), false
			}
		}
	}
	if !refused {
		h.refused = 0
		return pause, false
	}
	h.refused++
	return max(pause, refusedPause+rand.N(refusedPause/2)), h.refused == maxRefused
}

// TurnedAway reports whether sshd refuses connections from this address for a time.
func TurnedAway(e *fleetssh.ConnectionError) bool {
	return strings.Contains(e.Said, "Not allowed at this time")
}

// Working returns what the hosts that have begun are doing. It is safe for concurrent use.
func (w *Watch) Working() []fleetssh.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	var work []fleetssh.Progress
	for i := range w.hosts {
		h := &w.hosts[i]
		if !h.begun || h.done {
			continue
		}
		p := fleetssh.Progress{Index: i, Phase: w.Doing, Since: h.began, Begun: h.began}
		if h.trying && h.attempts == 1 {
			p.Phase, p.Since = fleetssh.PhaseConnect, h.since
		}
		work = append(work, p)
	}
	return work
}

// queue is a heap of hosts by the time of their next attempt.
type queue struct {
	hosts []host
	due   []int
}

func (q *queue) Len() int           { return len(q.due) }
func (q *queue) Less(a, b int) bool { return q.hosts[q.due[a]].due.Before(q.hosts[q.due[b]].due) }
func (q *queue) Swap(a, b int)      { q.due[a], q.due[b] = q.due[b], q.due[a] }

// Push implements [heap.Interface].
func (q *queue) Push(x any) { q.due = append(q.due, x.(int)) }

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(q.due) - 1
	i := q.due[last]
	q.due = q.due[:last]
	return i
}
