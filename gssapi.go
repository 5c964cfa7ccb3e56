package fleetssh

import (
	"fmt"
	"log/slog"
	"strings"

	"fleetssh/internal/gss"
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
