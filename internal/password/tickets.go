package password

import (
	"context"
	"sync"

	"fleetssh/internal/gss"
)

// Tickets are the Kerberos credentials that hosts share. If they come from a password, the KDC
// checks it once, before any host gets a ticket. The methods may be called concurrently.
type Tickets struct {
	options gss.Options
	asking  chan struct{} // of capacity 1: held while the user is asked for another password

	mu       sync.Mutex // protects what follows
	current  *gss.Credentials
	tries    int    // how many passwords there have been
	reporter string // the host whose login reports that the password is refused
	gaveUp   bool   // the user gives no other password
}

// NewTickets returns the credentials that the options describe.
func NewTickets(o gss.Options) *Tickets {
	return &Tickets{options: o, asking: make(chan struct{}, 1), current: gss.NewCredentials(o), tries: 1}
}

// Get returns the current credentials, and how many passwords there have been.
func (t *Tickets) Get() (*gss.Credentials, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, t.tries
}

// Reports reports whether the login of a host, the first to call it, is to report that the KDC
// has refused the password.
func (t *Tickets) Reports(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reporter == "" {
		t.reporter = host
	}
	return t.reporter == host
}

// Renew asks for another password of principal, after the KDC has refused number n, and reports
// whether there is one. It calls ask, which may be nil, once for all hosts.
func (t *Tickets) Renew(ctx context.Context, n int, principal string, ask Prompt) bool {
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return false
	}
	t.mu.Lock()
	renewed, gaveUp := t.tries != n, t.gaveUp
	t.mu.Unlock()
	if renewed || gaveUp {
		return renewed
	}
	var another string
	var err error
	if ask != nil && n < MaxTries {
		another, err = ask(ctx, principal, n)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || another == "" {
		t.gaveUp = ctx.Err() == nil // an interrupted question has no answer
		return false
	}
	t.options.Password = another
	t.current = gss.NewCredentials(t.options)
	t.tries++
	return true
}
