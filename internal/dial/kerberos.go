package dial

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/gss"
	"fleetssh/internal/password"
)

// proveTicket asks the KDC to check the Kerberos password, once for all hosts that share it, and
// reports whether to try a login with a ticket. If the KDC refuses the password, the first host
// reports the KDC's error, and the others that the password was refused.
func (a *authenticator) proveTicket() bool {
	if a.host.Auth.Kerberos.Options.Password == "" || !a.checkOnce {
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
			return true // the login will report the error
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
		if a.reportsRefusal = a.kerberosShared.Reports(a.host.Name); a.reportsRefusal {
			a.record("Kerberos: %w", refusal)
		}
		f := a.host.failure(PasswordWithheld, phaseAuth, refusal)
		f.User, f.RefusedBy, f.Kerberos = principal, kdc, true
		a.noTicket = f
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

// errWithoutTicket ends a connection on which a ticket was refused. The SSH library cannot
// continue: it takes message 65 (RFC 4462, section 3.9) for message 64, and then the refusal that
// follows for the answer to the next method.
var errWithoutTicket = errors.New("login without the Kerberos ticket")

// ticketUse is a login with a ticket on one connection.
type ticketUse struct {
	*gss.Context
	complete bool // the last message of the method was sent
}

// GetMIC implements [ssh.GSSAPIClient].
func (u *ticketUse) GetMIC(micField []byte) ([]byte, error) {
	mic, err := u.Context.GetMIC(micField)
	u.complete = err == nil
	return mic, err
}

// hasTicket reports whether to try a login with a ticket.
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

// ticketRefused reports whether the login with a ticket failed in a way that makes the connection
// unusable: see errWithoutTicket. It records why.
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
		principal, err := a.tickets.Principal(a.ctx)
		if err != nil {
			principal = "the principal"
		}
		a.record("Kerberos: the host does not let %s in as %s", principal, a.host.User)
	default:
		a.record("Kerberos: the host refused the ticket for %s: its keytab may lack the current key, or its clock may be wrong", a.ticket.Service())
	}
}

// warnTicket records a warning if the login succeeded but the ticket could not be delegated.
func (a *authenticator) warnTicket() {
	if a.ticket == nil {
		return
	}
	if err := a.ticket.DelegationErr(); err != nil {
		a.warnings = append(a.warnings, err.Error())
	}
}
