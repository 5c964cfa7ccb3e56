package fleetssh

import (
	"strings"

	"fleetssh/internal/gss"
)

// proveTicket has the KDC judge the password for it, if there is one that hosts share, and
// reports whether a login with a ticket is to be tried. The first host tells what the KDC says,
// the others that the password was refused.
func (l *login) proveTicket() bool {
	if l.host.Auth.GSSAPI.Password == "" || !l.protected {
		return true
	}
	for {
		var n int
		l.tickets, n = l.kerberosShared.Get()
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
			return l.kerberosShared.Renew(l.ctx, n, principal, RefusedPassword{Host: *l.host, Kerberos: true}.ask(l.asks))
		}()
		if again {
			continue
		}
		if l.tellsRefusal = l.kerberosShared.Tell(l.host.name()); l.tellsRefusal {
			l.note("Kerberos: %w", refusal)
		}
		l.ticketless = &PasswordError{
			Host: l.host.name(), Port: l.host.port(), User: principal, Op: "auth", RefusedBy: kdc, Kerberos: true,
		}
		return false
	}
}
