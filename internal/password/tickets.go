package password

import (
	"context"
	"sync"

	"fleetssh/internal/gss"
)

// Tickets are the Kerberos credentials that hosts share. With a password, the KDC says
// once whether it is right, before any host is shown a ticket.
type Tickets struct {
	options gss.Options
	asking  chan struct{} // one entry: the turn to ask for another password

	mu      sync.Mutex // protects what follows
	current *gss.Credentials
	tries   int    // how many passwords there have been
	told    string // the host whose login was told that the password is refused
	gaveUp  bool   // nobody gives another
}

// NewTickets returns the credentials that are got as o says.
func NewTickets(o gss.Options) *Tickets {
	return &Tickets{options: o, asking: make(chan struct{}, 1), current: gss.NewCredentials(o), tries: 1}
}

// Get returns the credentials to use now, and how many passwords there have been.
func (t *Tickets) Get() (*gss.Credentials, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, t.tries
}

// Tell reports whether a host is the first to be told that the password is refused.
func (t *Tickets) Tell(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told == "" {
		t.told = host
	}
	return t.told == host
}

// Renew asks for another password of principal in place of number n, which the KDC has refused, and
// reports whether there is one.
func (t *Tickets) Renew(ctx context.Context, n int, principal string, ask Ask) bool {
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return false
	}
	t.mu.Lock()
	others, over := t.tries != n, t.gaveUp
	t.mu.Unlock()
	switch {
	case others:
		return true
	case over:
		return false
	}
	var another string
	var err error
	if ask != nil && n < Most {
		another, err = ask(ctx, principal, n)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || another == "" {
		t.gaveUp = ctx.Err() == nil // who was interrupted has said nothing
		return false
	}
	t.options.Password = another
	t.current = gss.NewCredentials(t.options)
	t.tries++
	return true
}
