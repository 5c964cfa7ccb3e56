package fleetssh

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/deadline"
	"fleetssh/internal/gss"
	"fleetssh/internal/keyfile"
)

// Auth holds what a client may prove itself with. The zero value offers the
// keys of the SSH agent and then the default key files in ~/.ssh. If KeyFile,
// KeyData or Signers is set, only those keys are offered. A certificate is
// offered before its key; passwords come last. At most six keys and passwords are
// offered on one connection, as sshd's MaxAuthTries allows by default; what is
// left then is offered on up to three more.
//
// KeyFile, KeyData, CertFile and CertData insist: if one of them cannot be used,
// connecting ends with a [*PKeyFileError] before anything but the SSH agent has
// been contacted. [CheckKeys] says so without connecting. Identities, CertFiles and
// the default files suggest: one that is missing, expired, encrypted with nobody to
// ask, or of no use in another way is left out, and named if the login fails.
//
// A key is the agent's key if the agent holds it: its private half need not be in
// the file then, and no passphrase is needed. The agent knows it by its public half,
// which is read from the file, or from the one with ".pub" added. A certificate goes
// with the key it was made for, whoever holds that: a file, the agent, a Signer, or
// hardware through the agent.
type Auth struct {
	// KeyFile is the path of a private key, or of the public half of a key that
	// the agent holds. A leading "~/" is the home directory. The certificate in
	// the file with "-cert.pub" added is offered too, if there is one, and so are
	// those for this key that the agent holds, unless IdentitiesOnly is set.
	//
	// CertFile is a certificate. Without KeyFile, KeyData and Signers, it belongs
	// to a key of the agent, of Identities, or to a default key.
	KeyFile  string
	CertFile string

	// KeyData and CertData are the same, in memory.
	KeyData  []byte `json:"-"`
	CertData []byte `json:"-"`

	// Passphrase decrypts the key. Empty means Password. It is not used if the
	// agent holds the key.
	Passphrase string `json:"-"`

	// Signers are keys held elsewhere: in an HSM, in another agent. A login
	// lasts at least as long as their Sign does.
	Signers []ssh.Signer `json:"-"`

	// Password is offered for password and keyboard-interactive logins. One
	// that the host has refused is not offered to it again.
	Password string `json:"-"`

	// GSSAPI, if not nil, turns on login by Kerberos tickets, which is tried
	// before everything else.
	GSSAPI *GSSAPI

	// Identities are the key files to offer behind the keys of the agent, in place
	// of the default ones in ~/.ssh, as ssh's IdentityFile. A public half stands for
	// a key of the agent, and a certificate for itself. They are not used if KeyFile,
	// KeyData or Signers is set.
	Identities []string

	// CertFiles are more certificates to offer, as ssh's CertificateFile. They are
	// offered in this order, each if somebody holds its key.
	CertFiles []string

	// IdentitiesOnly leaves out the keys and certificates of the agent that are not
	// in KeyFile, Identities or CertFiles, or in the default files and beside them.
	IdentitiesOnly bool

	// AgentSocket is the socket of the SSH agent. Empty means SSH_AUTH_SOCK.
	AgentSocket string

	// NoAgent and NoDefaultKeys leave out what the zero value offers.
	NoAgent       bool
	NoDefaultKeys bool

	// Methods are the login methods that may be tried, by their names in RFC 4252 and
	// RFC 4462: "gssapi-with-mic", "publickey", "keyboard-interactive", "password".
	// Their order does not matter. Empty means all.
	Methods []string

	// Ask answers what is not given above: the passphrase of a key that the host
	// would take, a password, a one-time code. If nil, such logins are not tried.
	// One goroutine at a time calls it, in the whole process. ConnectTimeout stands
	// still meanwhile; the host may have a limit of its own (LoginGraceTime of sshd).
	// It must return when ctx ends.
	Ask func(ctx context.Context, q Question) (string, error) `json:"-"`

	// Tell, if not nil, is called with what a host wants the user to read, when the login
	// waits and that may be why, as where one signs in with a browser: when a second has
	// passed, or before a question of the host. ConnectTimeout is two minutes then, if it is
	// zero. The text may have several lines; it is at most 4 KiB and holds no terminal
	// escapes. All of it is in [Login.Banner] and in errors, whether it was told or not.
	// Calls for several hosts overlap; the login waits for each to return.
	Tell func(host, text string) `json:"-"`
}

// A Question is put to the user while logging in.
type Question struct {
	Host   string
	Prompt string // as the server sent it; it may hold terminal escapes, and have several lines
	Echo   bool   // whether the answer may be shown as it is typed
}

// String names the methods that would be offered, and no secret.
func (a Auth) String() string {
	var names []string
	add := func(given bool, name string) {
		if given {
			names = append(names, name)
		}
	}
	add(a.GSSAPI != nil, "gssapi-with-mic")
	add(a.KeyFile != "", "key file "+a.KeyFile)
	add(len(a.KeyData) > 0, "key in memory")
	add(len(a.Signers) > 0, fmt.Sprintf("%d signers", len(a.Signers)))
	add(a.CertFile != "", "certificate "+a.CertFile)
	add(len(a.CertData) > 0, "certificate in memory")
	add(len(a.CertFiles) > 0, "certificates "+strings.Join(a.CertFiles, " "))
	add(!a.ownKeys() && !a.NoAgent, "agent")
	add(!a.ownKeys() && len(a.Identities) > 0, "keys "+strings.Join(a.Identities, " "))
	add(!a.ownKeys() && len(a.Identities) == 0 && !a.NoDefaultKeys, "default keys")
	add(a.Password != "", "password")
	add(a.Ask != nil, "asking")
	if len(names) == 0 {
		return "no login method"
	}
	return strings.Join(names, ", ")
}

// GoString names the methods that would be offered, and no secret.
func (a Auth) GoString() string { return "fleetssh.Auth{" + a.String() + "}" }

// Format implements [fmt.Formatter], so that no verb shows a secret.
func (a Auth) Format(f fmt.State, verb rune) { formatSafe(f, verb, a.String(), a.GoString()) }

// Suggested returns a with KeyFile and CertFile as suggestions: they are offered beside
// what would be offered without them, and it is no error if they cannot be used. It is
// for hops, which may well have other keys than the hosts that a user names a key for.
func (a Auth) Suggested() Auth {
	if a.CertFile != "" {
		a.CertFiles = append([]string{a.CertFile}, a.CertFiles...)
		a.CertFile = ""
	}
	if a.KeyFile == "" {
		return a
	}
	identities := a.Identities
	if len(identities) == 0 && !a.NoDefaultKeys {
		identities = keyfile.DefaultFiles()
	}
	a.Identities = append([]string{a.KeyFile}, identities...)
	a.KeyFile = ""
	return a
}

// ownKeys reports whether only the keys named in a are offered.
func (a *Auth) ownKeys() bool {
	return a.KeyFile != "" || len(a.KeyData) > 0 || len(a.Signers) > 0
}

// agentSocket returns the socket of the SSH agent, empty if there is none.
func (a *Auth) agentSocket() string {
	if a.AgentSocket != "" {
		return account.Expand(a.AgentSocket)
	}
	return os.Getenv("SSH_AUTH_SOCK")
}

// CheckKeys reports whether the keys and certificates that host insists on, which
// are those of [Auth] KeyFile, KeyData, Signers, CertFile and CertData, can be used: the
// error is the [*PKeyFileError] with which [Dial] would end, or that of ctx. It reads
// files, asks the SSH agent what it holds, and decrypts a key whose passphrase is
// given; it contacts no host and asks nobody. Hops are not looked at.
func CheckKeys(ctx context.Context, host HostConfig) error {
	d := newDialer(nil, 0, nil)
	defer d.close()
	host.Proxy, host.HostKeys = nil, InsecureIgnoreHostKeys{} // neither matters
	_, err := d.engine.Credentials(ctx, d.config(&host))
	return publicError(err)
}

// asking lets one goroutine of the process at a time put a question to the user:
// however many clients there are, there is one terminal. It holds no state.
var asking = make(chan struct{}, 1)

// waitToAsk waits for the turn to ask. done must be called when that is over.
func waitToAsk(ctx context.Context) (done func(), err error) {
	select {
	case asking <- struct{}{}:
		return func() { <-asking }, nil
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
}

// ask puts a question to the user, if there is one to ask.
func (a *Auth) ask(ctx context.Context, q Question) (answer string, err error) {
	done, err := waitToAsk(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return a.Ask(ctx, q)
}

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
