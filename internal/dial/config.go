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

// Config says how to connect and log in to one host. It is complete and valid: nothing is
// empty that has a default. It must not be changed once it is used. A hop is known by the
// address of its Config: hosts that point to the same one share a connection to it.
type Config struct {
	Host string // the name or address to connect to
	Port int
	Name string // of the host in errors and questions
	User string // to log in as

	Describe func() any // returns what names the host in the log
	Fault    error      // why the host cannot be connected to; nil: it can

	Proxy         *Config            // the hop in front of it; nil: none
	DialContext   transport.DialFunc // makes the connection; nil: TCP does, or the hop
	AddressFamily string             // "ip", "ip4" or "ip6"
	BindAddress   string             // to connect from; empty: any
	Masters       []string           // sockets of an OpenSSH master that may be there

	ConnectTimeout time.Duration // of one attempt
	Patient        bool          // the user has set no ConnectTimeout: people may take longer
	Attempts       int
	RetryDelay     time.Duration // between attempts
	FixedDelay     bool          // RetryDelay does not depend on why an attempt failed: the user has set it
	KeepAlive      time.Duration // zero: the host is not probed

	AgentSocket  string // of the SSH agent; empty: there is none
	ForwardAgent bool   // the host may use the agent

	Algorithms *algorithms.Choice // nil: the default
	HostKeys   HostKeys
	Auth       Auth
}

// HostKeys says which keys a host may have.
type HostKeys struct {
	Name string // by which the keys of the host are known
	Port int

	// Files are the known_hosts files. If nil, Check decides, and Algorithms returns the
	// algorithms of the keys that it knows, nil for any. The error is a [*Failure].
	Files      *knownhosts.Policy
	Check      func(name string, port int, key ssh.PublicKey) error
	Algorithms func(name string, port int) []string

	Revoked      []string           // files of keys that no host may have
	Command      knownhosts.Command // lists keys of the host beside Files; nil: there is none
	CheckAddress bool               // the keys known for the address count too
}

// Auth says what a host may be shown to log in.
type Auth struct {
	Methods    []string        // that may be tried; empty: all
	Kerberos   *Kerberos       // nil: no tickets
	Identities identity.Config // without Agent
	AsksAgent  bool            // keys of the agent may be offered
	Password   string

	Ask  func(context.Context, Question) (string, error) // asks the user; nil: there is nobody
	Tell func(text string)                               // tells the user; nil: likewise

	// AskAgain asks for another password in place of one that the host has refused, and
	// AskAgainKDC of one that the KDC has refused; nil: nobody is asked.
	AskAgain, AskAgainKDC password.Prompt
}

// Kerberos says how to log in with tickets.
type Kerberos struct {
	Options  gss.Options
	Server   string // in the name of the service: host/Server
	Delegate bool
	IfTicket bool // it is left out if there is no ticket
}

// Question is put to the user.
type Question struct {
	Prompt string
	Echo   bool // the answer may be shown as it is typed
}

// address returns where the host is, as host:port.
func (c *Config) address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// failure returns a failure of connecting to the host.
func (c *Config) failure(kind Kind, phase Phase, err error) *Failure {
	return &Failure{Kind: kind, Host: c.Name, Port: c.Port, Phase: phase, Err: err}
}

// interrupted returns the failure of a context that has ended, or err if it has not.
func interrupted(ctx context.Context, err error, host *Config, phase Phase, attempts int) error {
	f := Failure{Host: host.Name, Port: host.Port, Phase: phase, Attempts: attempts}
	if ended := Interrupted(ctx, f); ended != nil {
		return ended
	}
	return err
}
