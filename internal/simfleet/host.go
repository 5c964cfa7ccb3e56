package simfleet

import (
	"context"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// Host says what a simulated host is like. The zero value listens on a free port of 127.0.0.1, has one new ed25519 key,
// runs [Shell], and lets nobody log in.
type Host struct {
	// Name is what the simulated shell calls itself; "" means "sim".
	Name string
	// Addr is where to listen; "" means "127.0.0.1:0".
	Addr string
	// Version is the identification line; "" means "SSH-2.0-simfleet".
	Version string
	// HostKeys are the keys of the host, one of each type at most, certificates included; none means a new ed25519 key.
	HostKeys []ssh.Signer
	// Config narrows the algorithms that the host knows; the zero value means those of x/crypto.
	Config ssh.Config

	// Users are the names that may log in; none means any name.
	Users []string
	// AuthorizedKeys are the public keys that log in.
	AuthorizedKeys []ssh.PublicKey
	// UserCAs are the authorities whose user certificates log in.
	UserCAs []ssh.PublicKey
	// Password is what password and keyboard-interactive want; "" means that neither is offered.
	Password string
	// Prompts are the rounds of keyboard-interactive; none means one round that asks for Password.
	Prompts [][]Prompt
	// GSSAPI is handed to x/crypto as it is; nil means that gssapi-with-mic is not offered.
	GSSAPI *ssh.GSSAPIWithMICConfig
	// RequireAll are methods that must all succeed, in this order, like sshd's AuthenticationMethods "a,b"; none means
	// that any one is enough. It knows "publickey", "password" and "keyboard-interactive".
	RequireAll []string
	// MaxAuthTries is the number of failed logins after which the connection is closed; 0 means 6.
	MaxAuthTries int
	// Banner is sent before the first login attempt; "" means none.
	Banner string

	// DropFirst is the number of connections closed before the version line, as sshd does beyond MaxStartups.
	DropFirst int
	// SignIn lets users in who prove who they are elsewhere, as with a browser: the login waits until it returns, after the
	// Banner, and needs nothing else if it returns true. It must return soon after done is closed. nil means no such thing.
	SignIn func(user string, done <-chan struct{}) bool
	// MaxStartups is how many connections may be logging in at once; more are closed before the version line, as sshd does.
	// 0 means any number.
	MaxStartups int
	// Latency is added to every round trip, half each way, without limiting the throughput.
	Latency time.Duration
	// MaxSessions is the number of sessions open at once on one connection; 0 means 10. More are refused.
	MaxSessions int
	// RefuseSignals refuses "signal" requests, as sshd does when root is logged in.
	RefuseSignals bool
	// Dial opens the connections that are tunnelled through this host (direct-tcpip); nil means that they are refused.
	// It is called on one goroutine per tunnel. [DialLoopback] is one.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Listen opens the ports on which this host listens for a client (tcpip-forward); nil means that it refuses to.
	// They are closed with the connection.
	Listen func(network, address string) (net.Listener, error)

	// Handler runs commands and shells; nil means [Shell].
	Handler Handler
	// DiskSize is how many bytes the host's files may have, names and all; 0 means 64 MiB. They are kept in memory and end
	// with the host. See [Server.ReadFile].
	DiskSize int64
	// Subsystems run "sftp" and the like; a name that is not here, or has no handler, is refused. If "sftp" is not here,
	// the files of the host are served.
	Subsystems map[string]Handler
	// SudoPassword is what the simulated sudo wants; "" means NOPASSWD.
	SudoPassword string
	// RefuseSudo makes the simulated sudo say that the user is not in the sudoers file, after the password.
	RefuseSudo bool
	// SudoRS makes the simulated sudo ask and speak as sudo-rs does.
	SudoRS bool
	// Trace makes the shell of the user write every command to stderr before it runs, as bash does after "set -x".
	Trace bool

	// Fault is what goes wrong; the zero value is nothing.
	Fault Fault
}

// Handler runs one command as a host does and returns how it ended. It is called on a goroutine of its own per session,
// and must return soon after [Session.Done] is closed, because [Server.Close] waits for it.
type Handler func(*Session) Status

// Prompt is one question of keyboard-interactive and its right answer. Echo says whether the client may show the answer.
type Prompt struct {
	Text   string
	Answer string
	Echo   bool
}

// withDefaults returns the host with every zero value that means a default replaced by it, except HostKeys.
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
