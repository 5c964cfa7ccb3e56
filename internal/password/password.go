// Package password lets hosts share passwords. One that is wrong reaches a single host, or
// the KDC once, whoever has it.
package password

import (
	"context"
	"slices"
	"sync"

	"fleetssh/internal/deadline"
)

// Most is how many passwords are tried until the hosts that share one are given
// up, as ssh's NumberOfPasswordPrompts.
const Most = 3

// Table holds what has become of the passwords that the hosts of one client share.
// One that is wrong reaches a single host: where accounts are kept centrally, every
// refusal counts, and a few lock the account.
type Table struct {
	mu     sync.Mutex // protects what follows
	shared map[id]*Shared
}

type id struct{ user, value string }

// Of returns the password as the hosts share it, nil if that does not matter.
func (p *Table) Of(user, value string) *Shared {
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
		s = &Shared{user: user, value: value, most: 1, tries: 1}
		p.shared[key] = s
	}
	return s
}

// Shared is a password that hosts share, or the one that the user has given in
// its place. It goes to one host first; the others wait for what that makes of it.
type Shared struct {
	user string

	mu      sync.Mutex // protects what follows
	value   string
	tries   int    // how many values there have been
	good    bool   // a host has accepted it
	refused string // the host that has refused the last one
	active  int    // hosts that are trying it
	most    int    // how many may at once
	silent  int    // how many have not answered in time
	queue   []chan struct{}
}

// Turn is the turn to try a password on a host. It ends with one of its methods;
// the nil turn is that of a password known to be good, whose verdict changes nothing.
type Turn struct {
	shared *Shared

	// protected by the mu of shared
	value  string
	asking bool // the user is asked for another: the password was refused
	over   bool
}

// Value returns the password to try, as long as the turn is not over.
func (t *Turn) Value() (value string, ok bool) {
	if t == nil {
		return "", false
	}
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	return t.value, !t.over
}

// Take returns the password when it may be sent, with the turn if it is this host's to
// try it. The error is a [*RefusedError],
// or that of ctx.
func (s *Shared) Take(ctx context.Context) (value string, turn *Turn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.good:
			return s.value, nil, nil
		case s.refused != "":
			return "", nil, &RefusedError{User: s.user, By: s.refused}
		case s.active < s.most:
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
				s.wake(1) // it has just been our turn
			}
			return "", nil, deadline.Cause(ctx)
		}
	}
}

// wake lets so many of those who wait look again. s.mu is held.
func (s *Shared) wake(n int) {
	n = min(n, len(s.queue))
	for _, next := range s.queue[:n] {
		close(next)
	}
	s.queue = slices.Delete(s.queue, 0, n)
}

// end notes that the host is done with it, and what it says.
func (t *Turn) end(verdict func(s *Shared)) {
	if t == nil {
		return
	}
	s := t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.over || t.asking {
		return
	}
	t.over = true
	s.active--
	verdict(s)
	if s.good || s.refused != "" {
		s.wake(len(s.queue))
		return
	}
	s.wake(s.most - s.active)
}

// Accept notes that the host takes the password: it may go to all.
func (t *Turn) Accept() {
	t.end(func(s *Shared) {
		if t.value == s.value {
			s.good, s.refused = true, ""
		}
	})
}

// Pass leaves the turn to the next host: this one could not tell.
func (t *Turn) Pass() { t.end(func(*Shared) {}) }

// Silent passes the turn on because the host has not answered in time. Where several have
// not, more hosts at once are asked each time: hundreds of them, one after another, would
// take hours.
func (t *Turn) Silent() {
	const patience = 3
	t.end(func(s *Shared) {
		if s.silent++; s.silent >= patience {
			s.most *= 2
		}
	})
}

// An Ask asks for another password of a user, in place of number try, which was refused.
type Ask func(ctx context.Context, user string, try int) (string, error)

// Refuse notes that a host, which is called by, does not take the password. If somebody
// gives another, it returns that, and the turn goes on. ask may be nil.
func (t *Turn) Refuse(ctx context.Context, by string, ask Ask) (another string, ok bool) {
	if t == nil {
		return "", false
	}
	s := t.shared
	s.mu.Lock()
	try := s.tries
	late := s.good || s.refused != "" || t.value != s.value // others were quicker
	t.asking = !t.over && !late && ask != nil && try < Most
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

// RefusedError means that a password was not sent, because it has been refused.
type RefusedError struct {
	User string // whose password it is
	By   string // who has refused it
}

// Error implements [error].
func (e *RefusedError) Error() string {
	return "the password of " + e.User + " was refused by " + e.By
}
