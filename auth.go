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
	"fleetssh/internal/password"
)

// Auth holds the credentials of a client. The zero value offers the keys of the SSH agent and
// then the default key files in ~/.ssh. If KeyFile, KeyData or Signers is set, only those keys
// are offered. A certificate is offered before its key; passwords come last. One connection
// offers at most six keys and passwords, which is what sshd's MaxAuthTries allows by default;
// the rest is offered on up to three more connections.
//
// KeyFile, KeyData, CertFile and CertData are mandatory: if one of them cannot be used,
// connecting ends with a [*PKeyFileError] before anything except the SSH agent has been
// contacted. [CheckKeys] checks them without connecting. Identities, CertFiles and the default
// files are suggestions. A suggestion that cannot be used is left out, because it is missing,
// expired, encrypted with nobody to ask for the passphrase, or for another reason. If the login
// fails, the error names it.
//
// If the agent holds a key, the agent signs with it: the file then need not hold the private
// half, and no passphrase is needed. The public half identifies the key; it is read from the
// file, or from the file with ".pub" added. A certificate is used with the key it was made for,
// wherever that is: in a file, in the agent, in a Signer, or in hardware through the agent.
type Auth struct {
	// KeyFile is the path of a private key, or of the public half of a key that the agent
	// holds. A leading "~/" is the home directory. The certificate in the file with "-cert.pub"
	// added is offered too, if there is one. So are the agent's certificates for this key,
	// unless IdentitiesOnly is set.
	//
	// CertFile is the path of a certificate. Without KeyFile, KeyData and Signers, it belongs
	// to a key of the agent, of Identities, or to a default key.
	KeyFile  string
	CertFile string

	// KeyData and CertData are the contents of KeyFile and CertFile, in memory.
	KeyData  []byte `json:"-"`
	CertData []byte `json:"-"`

	// Passphrase decrypts the key. Empty means Password. It is not used if the agent holds the
	// key.
	Passphrase string `json:"-"`

	// Signers are keys held elsewhere: in an HSM, in another agent. A login lasts at least as
	// long as their Sign takes.
	Signers []ssh.Signer `json:"-"`

	// Password is offered for password and keyboard-interactive logins. A password that the
	// host has refused is not offered to it again.
	Password string `json:"-"`

	// GSSAPI, if not nil, turns on login by Kerberos tickets, which is tried before all other
	// methods.
	GSSAPI *GSSAPI

	// Identities are the key files to offer after the keys of the agent, in place of the
	// default files in ~/.ssh, as IdentityFile of ssh_config(5). The file of a public half
	// selects a key of the agent; a certificate file is a certificate to offer. Identities are
	// not used if KeyFile, KeyData or Signers is set.
	Identities []string

	// CertFiles are more certificates to offer, as CertificateFile of ssh_config(5). They are
	// offered in this order, each only if its key is available.
	CertFiles []string

	// IdentitiesOnly leaves out the keys and certificates of the agent that are not in KeyFile,
	// Identities or CertFiles, nor in the default files or beside them.
	IdentitiesOnly bool

	// AgentSocket is the socket of the SSH agent. Empty means SSH_AUTH_SOCK.
	AgentSocket string

	// NoAgent and NoDefaultKeys leave out the keys that the zero value offers.
	NoAgent       bool
	NoDefaultKeys bool

	// Methods are the login methods that may be tried, by their names in RFC 4252 and
	// RFC 4462: "gssapi-with-mic", "publickey", "keyboard-interactive", "password".
	// Their order does not matter. Empty means all.
	Methods []string

	// Ask returns what is not given above: the passphrase of a key that the host would accept,
	// a password, a one-time code. If nil, such logins are not tried. One goroutine at a time
	// calls it, in the whole process. ConnectTimeout is suspended meanwhile; the host may have
	// a limit of its own (LoginGraceTime of sshd). Ask must return when ctx ends.
	Ask func(ctx context.Context, q Question) (string, error) `json:"-"`

	// Tell, if not nil, is called with the text that a host wants the user to read, if the
	// login may be waiting for that, such as for a sign-in with a browser. It is called after
	// one second, or before a question of the host. ConnectTimeout is then two minutes, if it
	// is zero. The text may have several lines; it is at most 4 KiB and holds no terminal
	// escapes. [Login.Banner] and errors hold all of it, whether Tell was called or not. Calls
	// for several hosts overlap; the login waits for each call to return.
	Tell func(host, text string) `json:"-"`
}

// A Question is a question to the user during a login.
type Question struct {
	Host   string
	Prompt string // as the server sent it; it may hold terminal escapes, and have several lines
	Echo   bool   // whether the answer may be shown as it is typed
}

// String returns the methods that would be offered, and no secret.
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

// GoString returns String with the name of the type.
func (a Auth) GoString() string { return "fleetssh.Auth{" + a.String() + "}" }

// Format implements [fmt.Formatter], so that no verb shows a secret.
func (a Auth) Format(f fmt.State, verb rune) { formatSafe(f, verb, a.String(), a.GoString()) }

// Suggested returns a with KeyFile and CertFile as suggestions: they are offered in addition to
// the other keys, and a file that cannot be used is not an error. Use it for hops, which often
// have other keys than the hosts for which a user names a key.
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

// CheckKeys checks the keys and certificates that are mandatory for host: KeyFile, KeyData,
// Signers, CertFile and CertData of [Auth]. The error is the [*PKeyFileError] that [Dial] would
// return, or the error of ctx. CheckKeys reads files, asks the SSH agent for its keys, and
// decrypts a key whose passphrase is given. It contacts no host, asks no questions, and does
// not check hops.
func CheckKeys(ctx context.Context, host HostConfig) error {
	d := newDialer(nil, 0, nil)
	defer d.close()
	host.Proxy, host.HostKeys = nil, InsecureIgnoreHostKeys{} // neither matters
	_, err := d.engine.Credentials(ctx, d.config(&host))
	return publicError(err)
}

// asking lets one goroutine of the process at a time ask the user: all clients share one
// terminal. It holds no state.
var asking = make(chan struct{}, 1)

// waitToAsk waits for the turn to ask. The caller must call done after asking.
func waitToAsk(ctx context.Context) (done func(), err error) {
	select {
	case asking <- struct{}{}:
		return func() { <-asking }, nil
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
}

// ask calls a.Ask when it is the turn of the call.
func (a *Auth) ask(ctx context.Context, q Question) (answer string, err error) {
	done, err := waitToAsk(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return a.Ask(ctx, q)
}

// RefusedPassword describes a refused password to [ParallelClient.AskAgain].
type RefusedPassword struct {
	Host     HostConfig // the host that has refused it
	User     string     // the owner of the password
	Sudo     bool       // whether sudo has refused it
	Kerberos bool       // whether the KDC has refused it, during the login to Host
	Try      int        // the number of passwords refused so far
}

// passwords returns the table of shared passwords, or nil if hosts do not share any.
func (p *ParallelClient) passwords() *password.Table {
	if p.PasswordsDiffer {
		return nil
	}
	return new(password.Table)
}

// askInstead returns a function that asks the user for another password after one was refused. It
// returns nil if the user is not asked. refused lacks the host, the user and the number of tries.
func (d *dialer) askInstead(host *HostConfig, refused RefusedPassword) password.Prompt {
	ask := d.askAgain
	switch {
	case d.passwords == nil:
		return nil
	case ask != nil:
	case host.Auth.Ask == nil || refused.Sudo:
		return nil // only AskAgain is asked for a sudo password
	default:
		ask = host.Auth.askAgain
	}
	sudo, kerberos := refused.Sudo, refused.Kerberos
	return func(ctx context.Context, user string, try int) (string, error) {
		done, err := waitToAsk(ctx)
		if err != nil {
			return "", err
		}
		defer done()
		return ask(ctx, RefusedPassword{Host: *host, User: user, Sudo: sudo, Kerberos: kerberos, Try: try})
	}
}

// askAgain asks the user for another password.
func (a *Auth) askAgain(ctx context.Context, r RefusedPassword) (string, error) {
	who := r.Host.name()
	if r.Kerberos {
		who = "The KDC"
	}
	return a.Ask(ctx, Question{Host: r.Host.name(), Prompt: fmt.Sprintf("%s has refused the password of %s. Another for all hosts: ", who, r.User)})
}

// GSSAPI configures login by Kerberos tickets: the method gssapi-with-mic (RFC 4462) with the
// mechanism Kerberos 5 (RFC 4121), in which the server also proves its identity. The zero value
// uses the tickets that kinit has stored in the user's credential cache.
//
// The cache may be of the type FILE, DIR, KCM or KEYRING. The hosts of one [ParallelClient]
// share one ticket-granting ticket, and hosts of the same name share one service ticket. If the
// server refuses the ticket, the login continues with the other methods of [Auth], over a new
// connection.
type GSSAPI struct {
	// ServerIdentity is the host part of the service name host/NAME. Empty means
	// HostConfig.Host; if that is an address, the realm seldom knows it.
	ServerIdentity string

	// ClientIdentity is the principal to log in as, such as "alice" or
	// "alice@EXAMPLE.COM": it selects among the credential caches, or the entries
	// of Keytab. Empty means the default of the cache.
	ClientIdentity string

	// Delegate forwards the credentials to the server, so that commands there can use them. If
	// the ticket cannot be forwarded, the login continues without delegation, and
	// Login.Warnings says so.
	Delegate bool

	// IfTicket leaves the method out, without a warning, if there is no ticket, as ssh does.
	// Some systems configure ssh to try GSSAPI on every host.
	IfTicket bool

	// Config names the Kerberos configuration files, separated by colons. Empty
	// means KRB5_CONFIG, or else /etc/krb5.conf.
	Config string

	// Cache names the credential cache, as KRB5CCNAME does. Empty means KRB5CCNAME, or else the
	// default of the configuration.
	Cache string

	// Keytab, if set, is a file of keys to get a ticket with, in place of a cache. Password
	// does the same with the Kerberos password of ClientIdentity. Tickets from either are kept
	// in memory only.
	Keytab   string
	Password string `json:"-"`
}

// String returns the identity that is used, and no secret.
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

// GoString returns String with the name of the type.
func (g GSSAPI) GoString() string { return "fleetssh.GSSAPI{" + g.String() + "}" }

// Format implements [fmt.Formatter], so that no verb shows a secret.
func (g GSSAPI) Format(f fmt.State, verb rune) { formatSafe(f, verb, g.String(), g.GoString()) }

// LogValue implements [slog.LogValuer] and logs no secret.
func (g GSSAPI) LogValue() slog.Value { return slog.StringValue(g.String()) }

// fault returns the first setting that cannot be used, and the reason.
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
