// Package password lets hosts share passwords, so that a wrong one is sent to a single host, or
// to the KDC once: where accounts are kept centrally, every refusal counts, and a few lock the
// account.
package password

import (
	"context"
	"slices"
	"sync"

	"fleetssh/internal/deadline"
)

// MaxTries is how many passwords are tried before the hosts that share one are given up, as
// with NumberOfPasswordPrompts of ssh.
const MaxTries = 3

// Table holds the passwords that the hosts of one client share. The zero value is ready for
// use, by many goroutines.
type Table struct {
	mu     sync.Mutex // protects what follows
	shared map[id]*Shared
}

type id struct{ user, value string }

// Get returns the shared entry of a password, or nil if p is nil or there is no password.
func (p *Table) Get(user, value string) *Shared {
	if p == nil || value == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := id{user, value}
	s := p.shared[key]
	if s == nil {
		if p.shared == nil {
			p.shared = make(map[id]*Shared)
		}
		s = &Shared{user: user, value: value, limit: 1, tries: 1}
		p.shared[key] = s
	}
	return s
}

// Shared is a password that hosts share, or the one that the user has given in its place. It is
// sent to one host first; the others wait for the verdict of that host.
type Shared struct {
	user string

	mu       sync.Mutex // protects what follows
	value    string
	tries    int    // how many values there have been
	accepted bool   // by a host
	refused  string // the host that has refused the last value
	active   int    // hosts that are trying it
	limit    int    // how many may try it at once
	timeouts int    // hosts that have not answered in time
	queue    []chan struct{}
}

// Turn is the turn to try a password on a host. Accept, Pass, TimedOut or Refuse ends it. The
// nil Turn belongs to a password that is known to be right: its methods do nothing.
type Turn struct {
	shared *Shared

	// protected by shared.mu
	value  string
	asking bool // the password was refused, and the user is asked for another
	done   bool
}

// Value returns the password to try, until the turn has ended.
func (t *Turn) Value() (value string, ok bool) {
	if t == nil {
		return "", false
	}
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	return t.value, !t.done
}

// Acquire waits until the password may be sent, and returns it. turn is not nil if this host is
// to try it. The error is a [*RefusedError], or that of ctx.
func (s *Shared) Acquire(ctx context.Context) (value string, turn *Turn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.accepted:
			return s.value, nil, nil
		case s.refused != "":
			return "", nil, &RefusedError{User: s.user, By: s.refused}
		case s.active < s.limit:
			s.active++
			return s.value, &Turn{shared: s, value: s.value}, nil
		}
		next := make(chan struct{})
		s.queue = append(s.queue, next)
		s.mu.Unlock()
		select {
		case <-next:
			s.mu.Lock()
		case <-ctx.Done():
			s.mu.Lock()
			if i := slices.Index(s.queue, next); i >= 0 {
				s.queue = slices.Delete(s.queue, i, i+1)
			} else {
				s.wake(1) // we have just been woken: pass that on
			}
			return "", nil, deadline.Cause(ctx)
		}
	}
}

// wake makes the first n waiters check again. s.mu is held.
func (s *Shared) wake(n int) {
	n = min(n, len(s.queue))
	for _, next := range s.queue[:n] {
		close(next)
	}
	s.queue = slices.Delete(s.queue, 0, n)
}

// end ends the turn, and has verdict record the host's answer.
func (t *Turn) end(verdict func(s *Shared)) {
	if t == nil {
		return
	}
	s := t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.done || t.asking {
		return
	}
	t.done = true
	s.active--
	verdict(s)
	if s.accepted || s.refused != "" {
		s.wake(len(s.queue))
		return
	}
	s.wake(s.limit - s.active)
}

// Accept records that the host accepts the password. All hosts may get it then.
func (t *Turn) Accept() {
	t.end(func(s *Shared) {
		if t.value == s.value {
			s.accepted, s.refused = true, ""
		}
	})
}

// Pass leaves the turn to the next host: this one has given no verdict.
func (t *Turn) Pass() { t.end(func(*Shared) {}) }

// TimedOut is Pass for a host that has not answered in time. From the third such host on, each
// one doubles the number of hosts that may try at once: hundreds of them, one after another,
// would take hours.
func (t *Turn) TimedOut() {
	const patience = 3
	t.end(func(s *Shared) {
		if s.timeouts++; s.timeouts >= patience {
			s.limit *= 2
		}
	})
}

// A Prompt asks for another password of a user, after number try was refused.
type Prompt func(ctx context.Context, user string, try int) (string, error)

// Refuse records that the host named by does not accept the password. If ask, which may be nil,
// returns another password, Refuse returns that, and the turn goes on.
func (t *Turn) Refuse(ctx context.Context, by string, ask Prompt) (another string, ok bool) {
	if t == nil {
		return "", false
	}
	s := t.shared
	s.mu.Lock()
	try := s.tries
	late := s.accepted || s.refused != "" || t.value != s.value // another host was quicker
	t.asking = !t.done && !late && ask != nil && try < MaxTries
	asking := t.asking
	s.mu.Unlock()
	if asking {
		another, err := ask(ctx, s.user, try)
		s.mu.Lock()
		t.asking = false
		if err == nil && another != "" {
			s.value, t.value = another, another
			s.tries++
			s.mu.Unlock()
			return another, true
		}
		s.mu.Unlock()
	}
	t.end(func(s *Shared) {
		if !late {
			s.refused = by
		}
	})
	return "", false
}

// RefusedError means that a password was not sent, because another host has refused it.
type RefusedError struct {
	User string // the owner of the password
	By   string // the host that has refused it
}

// Error implements [error].
func (e *RefusedError) Error() string {
	return "the password of " + e.User + " was refused by " + e.By
}
