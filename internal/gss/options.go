package gss

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
)

// Options say where tickets come from. They are comparable, so that they can be the key of a map.
// The zero value means the tickets that kinit got. String, Format and LogValue leave out the
// password.
type Options struct {
	// Config is a list of krb5.conf files, as in KRB5_CONFIG. "" means the value of that
	// variable, or /etc/krb5.conf if it is not set.
	Config string

	// Cache names the credential cache, as in KRB5CCNAME. "" means the value of that variable,
	// default_ccache_name in krb5.conf, or FILE:/tmp/krb5cc_<uid>, whichever is set first. If
	// it is "" and the cache has no valid TGT, the client keytab is used that
	// KRB5_CLIENT_KTNAME or default_client_keytab_name names.
	Cache string

	// Keytab, if set, is the file with the keys that get the TGT. No cache is read then.
	Keytab string

	// Password, if set, gets the TGT for Client. No cache and no keytab is read then.
	Password string `json:"-" xml:"-" yaml:"-"`

	// Client is the client principal: "alice", in the default realm, or "alice@REALM". "" means
	// the principal of the default cache, or the first principal in the keytab.
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

// source describes where the TGT comes from.
func (o Options) source(cacheName string) string {
	switch {
	case o.Password != "":
		return "password"
	case o.Keytab != "":
		return "keytab " + strings.TrimPrefix(o.Keytab, "FILE:")
	}
	return "cache " + cmp.Or(cacheName, "of the user")
}
