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
func (a *authenticator) proveTicket() bool {
	if a.host.Auth.Kerberos.Options.Password == "" || !a.protected {
		return true
	}
	for {
		var n int
		a.tickets, n = a.kerberosShared.Get()
		refusal := a.tickets.Prove(a.ctx)
		if !gss.Refused(refusal) {
			return true
		}
		principal, err := a.tickets.Principal(a.ctx)
		if err != nil {
			return true // the login says why
		}
		_, realm, _ := strings.Cut(principal, "@")
		kdc := "the KDC of " + realm
		again := func() bool {
			defer a.clock.Pause()()
			return a.kerberosShared.Renew(a.ctx, n, principal, a.host.Auth.AskAgainKDC)
		}()
		if again {
			continue
		}
		if a.tellsRefusal = a.kerberosShared.Reports(a.host.Name); a.tellsRefusal {
			a.record("Kerberos: %w", refusal)
		}
		f := a.host.failure(PasswordWithheld, phaseAuth, refusal)
		f.User, f.RefusedBy, f.Kerberos = principal, kdc, true
		a.ticketless = f
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

// errWithoutTicket ends a connection on which a ticket was refused. The SSH library cannot go on:
// it takes message 65 of RFC 4462, section 3.9, for message 64, and takes the refusal that
// follows for the answer to the next method.
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
func (a *authenticator) hasTicket() bool {
	if a.tickets == nil || a.kerberos != untried {
		return false
	}
	if a.host.Auth.Kerberos.IfTicket {
		if _, err := a.tickets.Principal(a.ctx); err != nil {
			return false
		}
	}
	if !a.proveTicket() {
		a.kerberos = refused
		return false
	}
	return true
}

// nextTicket returns the method that logs in with a ticket.
func (a *authenticator) nextTicket() ssh.AuthMethod {
	k := a.host.Auth.Kerberos
	a.ticket = &ticketUse{Context: a.tickets.NewContext(a.ctx, k.Delegate)}
	return ssh.GSSAPIWithMICAuthMethod(a.ticket, k.Server)
}

// ticketRefused reports whether the login with a ticket has failed in a way that makes the
// connection useless, and records why.
func (a *authenticator) ticketRefused() bool {
	if a.last != &a.kerberos || !a.ticket.Begun() || a.ticket.complete {
		return false
	}
	*a.last = refused
	a.last = nil
	a.explainTicket()
	return true
}

// explainTicket records why the login with a ticket has failed.
func (a *authenticator) explainTicket() {
	switch err := a.ticket.Err(); {
	case err != nil:
		a.record("Kerberos: %w", err)
	case a.ticket.complete:
		who, err := a.tickets.Principal(a.ctx)
		if err != nil {
			who = "the principal"
		}
		a.record("Kerberos: the host does not let %s in as %s", who, a.host.User)
	default:
		a.record("Kerberos: the host refused the ticket for %s: its keytab may lack the current key, or its clock be wrong", a.ticket.Service())
	}
}

// warnTicket records what the user must know about a login with a ticket that has succeeded.
func (a *authenticator) warnTicket() {
	if a.ticket == nil {
		return
	}
	if err := a.ticket.DelegationErr(); err != nil {
		a.warnings = append(a.warnings, err.Error())
	}
}
