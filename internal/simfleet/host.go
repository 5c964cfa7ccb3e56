package simfleet

import (
	"context"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// Host describes a simulated host. The zero value listens on a free port of 127.0.0.1, has one new
// ed25519 key, runs [Shell], and accepts no login.
type Host struct {
	// Name is the host name in the simulated shell; "" means "sim".
	Name string
	// Addr is the address to listen on; "" means "127.0.0.1:0".
	Addr string
	// Version is the identification line; "" means "SSH-2.0-simfleet".
	Version string
	// HostKeys are the keys of the host, at most one of each type, certificates included; none
	// means a new ed25519 key.
	HostKeys []ssh.Signer
	// Config limits the algorithms that the host offers; the zero value means x/crypto's defaults.
	Config ssh.Config

	// Users are the names that may log in; none means any name.
	Users []string
	// AuthorizedKeys are the public keys that may log in.
	AuthorizedKeys []ssh.PublicKey
	// UserCAs are the authorities whose user certificates may log in.
	UserCAs []ssh.PublicKey
	// Password is the answer to password and keyboard-interactive; "" means that neither is
	// offered.
	Password string
	// Prompts are the rounds of keyboard-interactive; none means one round that asks for Password.
	Prompts [][]Prompt
	// GSSAPI is passed to x/crypto; nil means that gssapi-with-mic is not offered.
	GSSAPI *ssh.GSSAPIWithMICConfig
	// RequireAll are methods that must all succeed, in this order, like sshd's
	// AuthenticationMethods "a,b"; none means that any one method is enough. The methods are
	// "publickey", "password" and "keyboard-interactive".
	RequireAll []string
	// MaxAuthTries is the number of failed attempts after which the connection is closed; 0 means
	// 6.
	MaxAuthTries int
	// Banner is sent before the first login attempt; "" means none.
	Banner string

	// DropFirst is the number of connections closed before the version line, as sshd does beyond
	// MaxStartups.
	DropFirst int
	// SignIn simulates a sign-in outside SSH, for example in a browser. The login waits after
	// the Banner until SignIn returns; if it returns true, the login is complete. SignIn must
	// return soon after done is closed. nil means none.
	SignIn func(user string, done <-chan struct{}) bool
	// MaxStartups is how many connections may be logging in at once. Further ones are closed before
	// the version line, as sshd does. 0 means any number.
	MaxStartups int
	// Latency is added to every round trip, half each way, without limiting the throughput.
	Latency time.Duration
	// MaxSessions is the number of sessions that may be open at once on one connection; 0 means 10.
	// Further ones are refused.
	MaxSessions int
	// RefuseSignals refuses "signal" requests, as sshd does when root is logged in.
	RefuseSignals bool
	// Dial opens the connections that are tunnelled through this host (direct-tcpip); nil means
	// that the host refuses them. It is called on one goroutine per tunnel. See [DialLoopback].
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Listen opens the ports on which this host listens for a client (tcpip-forward); nil means
	// that the host refuses to. They are closed with the connection. Calls may overlap.
	Listen func(network, address string) (net.Listener, error)

	// Handler runs commands and shells; nil means [Shell].
	Handler Handler
	// DiskSize limits the host's files, in bytes with their names; 0 means 64 MiB. The files are in
	// memory and are gone with the host. See [Server.ReadFile].
	DiskSize int64
	// Subsystems run subsystems by name. The host refuses a name that is missing or has no handler.
	// If "sftp" is missing, the host serves its files.
	Subsystems map[string]Handler
	// SudoPassword is the password that the simulated sudo expects; "" means NOPASSWD.
	SudoPassword string
	// RefuseSudo makes the simulated sudo say, after the password, that the user is not in the
	// sudoers file.
	RefuseSudo bool
	// SudoRS gives the simulated sudo the prompt and the messages of sudo-rs.
	SudoRS bool
	// RebootTime is how long the host is away when root reboots it; 0 means one second.
	RebootTime time.Duration
	// Trace makes the user's shell write every command to stderr before it runs, as bash does after
	// "set -x".
	Trace bool

	// Fault is what goes wrong; the zero value means nothing.
	Fault Fault
}

// Handler runs one command and returns how it ended. It is called on one goroutine per session, and
// must return soon after [Session.Done] is closed, because [Server.Close] waits for it.
type Handler func(*Session) Status

// Prompt is one question of keyboard-interactive and its right answer. Echo says whether the client
// may show the answer.
type Prompt struct {
	Text   string
	Answer string
	Echo   bool
}

// withDefaults returns the host with the defaults filled in, except for HostKeys.
func (h Host) withDefaults() Host {
	if h.Name == "" {
		h.Name = "sim"
	}
	if h.Addr == "" {
		h.Addr = "127.0.0.1:0"
	}
	if h.Version == "" {
		h.Version = "SSH-2.0-simfleet"
	}
	if h.MaxSessions == 0 {
		h.MaxSessions = 10
	}
	if h.RebootTime == 0 {
		h.RebootTime = rebootTime
	}
	if h.DiskSize == 0 {
		h.DiskSize = diskSize
	}
	if h.Handler == nil {
		h.Handler = Shell
	}
	if len(h.Prompts) == 0 && h.Password != "" {
		h.Prompts = [][]Prompt{{{Text: "Password: ", Answer: h.Password}}}
	}
	return h
}
