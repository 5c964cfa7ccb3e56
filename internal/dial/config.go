package dial

import (
	"context"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/gss"
	"fleetssh/internal/identity"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/password"
	"fleetssh/internal/transport"
)

// Config says how to connect and log in to one host. It is complete and valid: defaults are
// filled in. It must not change after its first use. Hosts whose Proxy points to the same Config
// share one connection to that hop.
type Config struct {
	Host string // the name or address to connect to
	Port int
	Name string // the name of the host in errors and prompts
	User string // the user to log in as

	Describe func() any // returns the value that stands for the host in the log
	Fault    error      // if not nil: why no connection to the host is possible

	Proxy         *Config            // the hop in front of the host; nil: none
	DialContext   transport.DialFunc // makes the connection; nil: by TCP, or through Proxy
	AddressFamily string             // "ip", "ip4" or "ip6"
	BindAddress   string             // the local address to connect from; empty: any
	Masters       []string           // paths at which an OpenSSH master may have its socket

	ConnectTimeout time.Duration // for one attempt
	ExtendTimeout  bool          // the user set no ConnectTimeout: allow more while a person may be signing in
	Attempts       int
	RetryDelay     time.Duration // between attempts
	FixedDelay     bool          // the user set RetryDelay: use it after every kind of failure
	KeepAlive      time.Duration // the interval of keep-alive probes; zero: none

	AgentSocket  string // the socket of the SSH agent; empty: no agent
	ForwardAgent bool   // the host may use the agent

	Algorithms *algorithms.Choice // nil: the defaults
	HostKeys   HostKeys
	Auth       Auth
}

// HostKeys says which host keys are trusted.
type HostKeys struct {
	Name string // the name to look the keys up by
	Port int

	// Files are the known_hosts files. If nil, Check decides, and Algorithms returns the
	// algorithms of the known keys, or nil for any. Check returns a [*Failure].
	Files      *knownhosts.Policy
	Check      func(name string, port int, key ssh.PublicKey) error
	Algorithms func(name string, port int) []string

	// Confirm decides, if Files do not list the host, whether to trust its key and to add it to
	// them. It may take long. Nil: the host is refused.
	Confirm func(ctx context.Context, key ssh.PublicKey) bool

	Revoked      []string           // files of revoked keys (RevokedHostKeys)
	Command      knownhosts.Command // lists more keys of the host (KnownHostsCommand); nil: none
	CheckAddress bool               // also look the key up by the address (CheckHostIP)
}

// Auth says how to log in.
type Auth struct {
	Methods    []string        // the methods that may be tried; empty: all
	Kerberos   *Kerberos       // nil: no Kerberos
	Identities identity.Config // without Agent
	AsksAgent  bool            // offer keys of the agent
	Password   string

	Ask  func(context.Context, Question) (string, error) // asks the user; nil: no questions
	Tell func(text string)                               // shows the user a banner; nil: no banners

	// AskAgain asks the user for a new password after the host refused the old one, and
	// AskAgainKDC after the KDC refused it. Nil: the user is not asked.
	AskAgain, AskAgainKDC password.Prompt
}

// Kerberos says how to log in with tickets.
type Kerberos struct {
	Options  gss.Options
	Server   string // the host in the service principal host/Server
	Delegate bool   // forward the ticket-granting ticket
	IfTicket bool   // skip Kerberos if there is no ticket
}

// Question is a question for the user.
type Question struct {
	Prompt string
	Echo   bool // the answer may be shown while it is typed
}

// address returns the address of the host as host:port.
func (c *Config) address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// failure returns a failure of connecting to the host.
func (c *Config) failure(kind Kind, phase Phase, err error) *Failure {
	return &Failure{Kind: kind, Host: c.Name, Port: c.Port, Phase: phase, Err: err}
}

// interrupted returns the failure of a context that has ended, or err if ctx has not ended.
func interrupted(ctx context.Context, err error, host *Config, phase Phase, attempts int) error {
	f := Failure{Host: host.Name, Port: host.Port, Phase: phase, Attempts: attempts}
	if ended := Interrupted(ctx, f); ended != nil {
		return ended
	}
	return err
}
