package fleetssh

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/gss"
	"fleetssh/internal/password"
)

// GSSAPI sets up login by Kerberos tickets: the method gssapi-with-mic (RFC 4462)
// with the mechanism Kerberos 5 (RFC 4121), in which the server proves who it is
// too. The zero value uses what kinit has left in the user's credential cache.
//
// The cache may be of the type FILE, DIR, KCM or KEYRING. The hosts of one
// [ParallelClient] share one ticket-granting ticket, and hosts of the same name one
// ticket for their service. A login whose ticket the server refuses goes on with
// the other methods of [Auth], over a new connection.
type GSSAPI struct {
	// ServerIdentity is the host part of the service name host/NAME. Empty means
	// HostConfig.Host, which for an address is seldom what the realm knows.
	ServerIdentity string

	// ClientIdentity is the principal to log in as, such as "alice" or
	// "alice@EXAMPLE.COM": it selects among the credential caches, or the entries
	// of Keytab. Empty means the default of the cache.
	ClientIdentity string

	// Delegate hands the credentials on to the server, so that commands there
	// can use them. If the ticket cannot be forwarded the login goes on without,
	// and Login.Warnings says so.
	Delegate bool

	// IfTicket leaves it out where there is no ticket to begin with, without a word
	// about it: as ssh does, which tries it everywhere on some systems.
	IfTicket bool

	// Config names the Kerberos configuration files, separated by colons. Empty
	// means KRB5_CONFIG, or else /etc/krb5.conf.
	Config string

	// Cache names the credential cache, as KRB5CCNAME does. Empty means
	// KRB5CCNAME, or else what the configuration says.
	Cache string

	// Keytab, if set, is a file of keys to get a ticket with, in place of a
	// cache. Password does the same with the Kerberos password of
	// ClientIdentity. Tickets got by either are kept in memory only.
	Keytab   string
	Password string `json:"-"`
}

// String says which identity is used, and no secret.
func (g GSSAPI) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("client", g.ClientIdentity)
	add("server", g.ServerIdentity)
	add("keytab", g.Keytab)
	add("cache", g.Cache)
	if g.Password != "" {
		parts = append(parts, "password")
	}
	if g.Delegate {
		parts = append(parts, "delegating")
	}
	return strings.Join(parts, ", ")
}

// GoString is String with the name of the type.
func (g GSSAPI) GoString() string { return "fleetssh.GSSAPI{" + g.String() + "}" }

// Format implements [fmt.Formatter], so that no verb shows a secret.
func (g GSSAPI) Format(f fmt.State, verb rune) { formatSafe(f, verb, g.String(), g.GoString()) }

// LogValue implements [slog.LogValuer] and logs no secret.
func (g GSSAPI) LogValue() slog.Value { return slog.StringValue(g.String()) }

// fault names the first setting that cannot be used, and says why.
func (g *GSSAPI) fault() (field, reason string) {
	switch {
	case g == nil:
	case g.Keytab != "" && g.Password != "":
		return "Auth.GSSAPI.Password", "it cannot be used together with Keytab"
	case g.Cache != "" && (g.Keytab != "" || g.Password != ""):
		return "Auth.GSSAPI.Cache", "it cannot be used together with Keytab or Password"
	case g.Password != "" && g.ClientIdentity == "":
		return "Auth.GSSAPI.ClientIdentity", "it must be given when Password is"
	}
	return "", ""
}

func (g *GSSAPI) options() gss.Options {
	return gss.Options{Config: g.Config, Cache: g.Cache, Keytab: g.Keytab, Password: g.Password, Client: g.ClientIdentity}
}

// tickets returns the credentials that the connections of d share.
func (d *dialer) tickets(g *GSSAPI) *password.Tickets {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := g.options()
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
func (l *login) hasTicket() bool {
	if l.tickets == nil || l.kerberos != untried {
		return false
	}
	if l.host.Auth.GSSAPI.IfTicket {
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
func (l *login) nextTicket() ssh.AuthMethod {
	g := l.host.Auth.GSSAPI
	server := g.ServerIdentity
	if server == "" {
		server = l.host.Host
	}
	l.ticket = &ticketUse{Context: l.tickets.NewContext(l.ctx, g.Delegate)}
	return ssh.GSSAPIWithMICAuthMethod(l.ticket, server)
}

// ticketRefused reports whether the login with a ticket has failed in a way that
// leaves the connection of no use, and notes it.
func (l *login) ticketRefused() bool {
	if l.last != &l.kerberos || !l.ticket.Begun() || l.ticket.complete {
		return false
	}
	*l.last = refused
	l.last = nil
	l.explainTicket()
	return true
}

// explainTicket notes why the login with a ticket has failed.
func (l *login) explainTicket() {
	switch err := l.ticket.Err(); {
	case err != nil:
		l.note("Kerberos: %w", err)
	case l.ticket.complete:
		who, err := l.tickets.Principal(l.ctx)
		if err != nil {
			who = "the principal"
		}
		l.note("Kerberos: the host does not let %s in as %s", who, l.user)
	default:
		l.note("Kerberos: the host refused the ticket for %s: its keytab may lack the current key, or its clock be wrong", l.ticket.Service())
	}
}

// warnTicket notes what the user must know about a login with a ticket that has
// succeeded.
func (l *login) warnTicket() {
	if l.ticket == nil {
		return
	}
	if err := l.ticket.DelegationErr(); err != nil {
		l.warnings = append(l.warnings, err.Error())
	}
}
