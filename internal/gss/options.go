package gss

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
)

// Options say where tickets come from. They may be compared, and be the key of a map.
// The zero value means what kinit has left. The password is in no text that is made
// of them.
type Options struct {
	// Config names the krb5.conf files, as KRB5_CONFIG does. "" means that variable,
	// or else /etc/krb5.conf.
	Config string

	// Cache names the credential cache, as KRB5CCNAME does. "" means that variable, or
	// else default_ccache_name of krb5.conf, or else FILE:/tmp/krb5cc_<uid>. With "",
	// and without a valid ticket, a keytab for clients is used if KRB5_CLIENT_KTNAME or
	// default_client_keytab_name names one.
	Cache string

	// Keytab, if set, is the file whose keys get the TGT, in place of a cache.
	Keytab string

	// Password, if set, gets the TGT for Client, in place of a cache or a keytab.
	Password string `json:"-" xml:"-" yaml:"-"`

	// Client is the principal to be: "alice", in the default realm, or "alice@REALM".
	// "" means that of the default cache, or the first of the keytab.
	Client string
}

// String returns the options without the password.
func (o Options) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, fmt.Sprintf("%s:%q", name, value))
		}
	}
	add("Config", o.Config)
	add("Cache", o.Cache)
	add("Keytab", o.Keytab)
	add("Client", o.Client)
	if o.Password != "" {
		parts = append(parts, "Password:(secret)")
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// Format writes String for every verb.
func (o Options) Format(s fmt.State, _ rune) { fmt.Fprint(s, o.String()) }

// LogValue returns String.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// source says in words where the TGT comes from.
func (o Options) source(cacheName string) string {
	switch {
	case o.Password != "":
		return "password"
	case o.Keytab != "":
		return "keytab " + strings.TrimPrefix(o.Keytab, "FILE:")
	}
	return "cache " + cmp.Or(cacheName, "of the user")
}
