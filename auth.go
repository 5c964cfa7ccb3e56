package fleetssh

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Auth holds what a client may prove itself with. The zero value offers the
// keys of the SSH agent and then the default key files in ~/.ssh. If KeyFile,
// KeyData or Signers is set, only those keys are offered. A certificate is
// offered before its key; passwords come last. At most six keys and passwords are
// offered on one connection, as sshd's MaxAuthTries allows by default; what is
// left then is offered on up to three more.
type Auth struct {
	// KeyFile is the path of a private key. A leading "~/" is the home
	// directory. CertFile is a certificate signed for it; if empty, the file
	// with "-cert.pub" added to KeyFile is used when there is one. Without
	// KeyFile, KeyData and Signers, CertFile belongs to a key of the agent or to
	// a default key.
	KeyFile  string
	CertFile string

	// KeyData and CertData are the same, in memory.
	KeyData  []byte `json:"-"`
	CertData []byte `json:"-"`

	// Passphrase decrypts the key. Empty means Password.
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
	// of the default ones in ~/.ssh, as ssh's IdentityFile: those that are missing
	// or cannot be used are passed over. A file ending in ".pub" stands for a key
	// of the agent.
	Identities []string

	// IdentitiesOnly leaves out the keys of the agent that are not in Identities,
	// or in the default files.
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

	// Ask answers what is not given above: a key's passphrase, a password, a
	// one-time code. If nil, such logins are not tried. One goroutine at a
	// time calls it, in the whole process. ConnectTimeout stands still meanwhile;
	// the host may have a limit of its own (LoginGraceTime of sshd). It must
	// return when ctx ends.
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

// ownKeys reports whether only the keys named in a are offered.
func (a *Auth) ownKeys() bool {
	return a.KeyFile != "" || len(a.KeyData) > 0 || len(a.Signers) > 0
}

// agentSocket returns the socket of the SSH agent, empty if there is none.
func (a *Auth) agentSocket() string {
	if a.AgentSocket != "" {
		return expandHome(a.AgentSocket)
	}
	return os.Getenv("SSH_AUTH_SOCK")
}

func (a *Auth) passphrase() string {
	if a.Passphrase != "" {
		return a.Passphrase
	}
	return a.Password
}
