package fleetssh

import (
	"context"
	"strings"
	"sync"

	"fleetssh/internal/gss"
)

// sharedTickets are the Kerberos credentials that hosts share. With a password, the KDC says
// once whether it is right, before any host is shown a ticket.
type sharedTickets struct {
	options gss.Options
	asking  chan struct{} // one entry: the turn to ask for another password

	mu      sync.Mutex // protects what follows
	current *gss.Credentials
	tries   int    // how many passwords there have been
	told    string // the host whose login was told that the password is refused
	gaveUp  bool   // nobody gives another
}

func newSharedTickets(o gss.Options) *sharedTickets {
	return &sharedTickets{options: o, asking: make(chan struct{}, 1), current: gss.NewCredentials(o), tries: 1}
}

// get returns the credentials to use now, and how many passwords there have been.
func (t *sharedTickets) get() (*gss.Credentials, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, t.tries
}

// tell reports whether a host is the first to be told that the password is refused.
func (t *sharedTickets) tell(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told == "" {
		t.told = host
	}
	return t.told == host
}

// renew asks for another password in place of number n, which the KDC has refused, and
// reports whether there is one.
func (t *sharedTickets) renew(ctx context.Context, n int, by RefusedPassword, ask func(context.Context, RefusedPassword) (string, error)) bool {
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
	by.Try, by.Kerberos = n, true
	var another string
	var err error
	if ask != nil && n < mostPasswords {
		another, err = ask(ctx, by)
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

// proveTicket has the KDC judge the password for it, if there is one that hosts share, and
// reports whether a login with a ticket is to be tried. The first host tells what the KDC says,
// the others that the password was refused.
func (l *login) proveTicket() bool {
	if l.host.Auth.GSSAPI.Password == "" || !l.protected {
		return true
	}
	for {
		var n int
		l.tickets, n = l.kerberosShared.get()
		refusal := l.tickets.Prove(l.ctx)
		if !gss.Refused(refusal) {
			return true
		}
		principal, err := l.tickets.Principal(l.ctx)
		if err != nil {
			return true // the login says why
		}
		_, realm, _ := strings.Cut(principal, "@")
		kdc := "the KDC of " + realm
		again := func() bool {
			defer l.clock.Pause()()
			return l.kerberosShared.renew(l.ctx, n, RefusedPassword{Host: *l.host, User: principal}, l.asks)
		}()
		if again {
			continue
		}
		if l.tellsRefusal = l.kerberosShared.tell(l.host.name()); l.tellsRefusal {
			l.note("Kerberos: %w", refusal)
		}
		l.ticketless = &PasswordError{
			Host: l.host.name(), Port: l.host.port(), User: principal, Op: "auth", RefusedBy: kdc, Kerberos: true,
		}
		return false
	}
}
