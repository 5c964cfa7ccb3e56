package dial

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/gss"
	"fleetssh/internal/password"
)

// proveTicket lets the KDC judge the password for Kerberos, if hosts share one, and reports
// whether a login with a ticket is to be tried. The first host tells what the KDC says, the
// others tell that the password was refused.
func (l *authenticator) proveTicket() bool {
	if l.host.Auth.Kerberos.Options.Password == "" || !l.protected {
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
			return l.kerberosShared.Renew(l.ctx, n, principal, l.host.Auth.AskAgainKDC)
		}()
		if again {
			continue
		}
		if l.tellsRefusal = l.kerberosShared.Reports(l.host.Name); l.tellsRefusal {
			l.note("Kerberos: %w", refusal)
		}
		f := l.host.failure(PasswordWithheld, "auth", refusal)
		f.User, f.RefusedBy, f.Kerberos = principal, kdc, true
		l.ticketless = f
		return false
	}
}

// Tickets returns the credentials that the connections of d share.
func (d *Dialer) Tickets(o gss.Options) *password.Tickets {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.kerberos[o]
	if c == nil {
		if d.kerberos == nil {
			d.kerberos = make(map[gss.Options]*password.Tickets)
		}
		c = password.NewTickets(o)
		d.kerberos[o] = c
	}
	return c
}

// errWithoutTicket ends a connection on which a ticket was refused: the SSH library
// cannot go on. It takes message 65 of RFC 4462, section 3.9, for message 64, and
// leaves the refusal that follows to the next method.
var errWithoutTicket = errors.New("login without the Kerberos ticket")

// ticketUse is the login with a ticket on one connection.
type ticketUse struct {
	*gss.Context
	complete bool // the last message of the method went out
}

// GetMIC implements [ssh.GSSAPIClient].
func (u *ticketUse) GetMIC(micField []byte) ([]byte, error) {
	mic, err := u.Context.GetMIC(micField)
	u.complete = err == nil
	return mic, err
}

// hasTicket reports whether a login with a ticket is to be tried.
func (l *authenticator) hasTicket() bool {
	if l.tickets == nil || l.kerberos != untried {
		return false
	}
	if l.host.Auth.Kerberos.IfTicket {
		if _, err := l.tickets.Principal(l.ctx); err != nil {
			return false
		}
	}
	if !l.proveTicket() {
		l.kerberos = refused
		return false
	}
	return true
}

// nextTicket returns the method that logs in with a ticket.
func (l *authenticator) nextTicket() ssh.AuthMethod {
	k := l.host.Auth.Kerberos
	l.ticket = &ticketUse{Context: l.tickets.NewContext(l.ctx, k.Delegate)}
	return ssh.GSSAPIWithMICAuthMethod(l.ticket, k.Server)
}

// ticketRefused reports whether the login with a ticket has failed in a way that makes the
// connection useless, and records why.
func (l *authenticator) ticketRefused() bool {
	if l.last != &l.kerberos || !l.ticket.Begun() || l.ticket.complete {
		return false
	}
	*l.last = refused
	l.last = nil
	l.explainTicket()
	return true
}

// explainTicket records why the login with a ticket has failed.
func (l *authenticator) explainTicket() {
	switch err := l.ticket.Err(); {
	case err != nil:
		l.note("Kerberos: %w", err)
	case l.ticket.complete:
		who, err := l.tickets.Principal(l.ctx)
		if err != nil {
			who = "the principal"
		}
		l.note("Kerberos: the host does not let %s in as %s", who, l.host.User)
	default:
		l.note("Kerberos: the host refused the ticket for %s: its keytab may lack the current key, or its clock be wrong", l.ticket.Service())
	}
}

// warnTicket records what the user must know about a login with a ticket that has succeeded.
func (l *authenticator) warnTicket() {
	if l.ticket == nil {
		return
	}
	if err := l.ticket.DelegationErr(); err != nil {
		l.warnings = append(l.warnings, err.Error())
	}
}
