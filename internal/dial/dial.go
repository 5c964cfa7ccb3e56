// Package dial makes connections to hosts that are logged in: by TCP, through hops, proxies
// and commands, or over the connection of an OpenSSH master; it asks hosts for their keys; and
// it says why there is no connection. It knows host settings as [Config] only.
package dial

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/gss"
	"fleetssh/internal/identity"
	"fleetssh/internal/keyfile"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/krl"
	"fleetssh/internal/password"
	"fleetssh/internal/sshagent"
)

// maxLookups is how many names are looked up at once.
const maxLookups = 64

// Dialer is what the connections of one client share. Its methods may be called by many
// goroutines at once.
type Dialer struct {
	log       *slog.Logger
	public    func(error) error
	passwords *password.Table
	streams   atomic.Int32 // see conn.Wire
	keys      keyfile.Ring
	revoked   krl.Files
	lookups   chan struct{} // holds a token for each look-up under way
	listers   *knownhosts.Commands
	hops      hops

	mu       sync.Mutex // protects what follows
	closed   bool
	agents   map[string]*sshagent.Agent // by socket
	kerberos map[gss.Options]*password.Tickets
}

// Options are what a [Dialer] is made of.
type Options struct {
	Log       *slog.Logger
	Public    func(error) error // returns an error as users read it in the log
	Passwords *password.Table   // nil: each host has its own opinion of a password
}

// New returns a Dialer. Its Close must be called.
func New(o Options) *Dialer {
	return &Dialer{
		log: o.Log, public: o.Public, passwords: o.Passwords,
		lookups: make(chan struct{}, maxLookups), listers: knownhosts.NewCommands(),
	}
}

// debug logs something about a host. If nobody reads it, the host is not described.
func (d *Dialer) debug(text string, host *Config, args ...any) {
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		d.log.Debug(text, append([]any{"host", host.Describe()}, args...)...)
	}
}

// warn logs what users should know about a host.
func (d *Dialer) warn(text string, host *Config, args ...any) {
	d.log.Warn(text, append([]any{"host", host.Describe()}, args...)...)
}

// Close closes the connections to hops and gives back those to agents. The connections that
// the Dialer has made must have been closed.
func (d *Dialer) Close() {
	d.hops.close()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.LeaveAgents()
}

// Forgive lets hops that could not be reached be tried again, if that was so long ago.
func (d *Dialer) Forgive(age time.Duration) { d.hops.forgive(age) }

// DropHops closes the connections to hops that are not needed any more.
func (d *Dialer) DropHops(dropped map[*Config]bool) { d.hops.drop(dropped) }

// agents holds the connections of the process to SSH agents. See
// docs/adr/0005-one-agent-connection.md.
var agents sshagent.Table

// agent returns the connection to an SSH agent, nil if the socket is empty or the Dialer is
// closed. It is held until LeaveAgents.
func (d *Dialer) agent(socket string) *sshagent.Agent {
	if socket == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil // nobody would give it back after a dial that is still under way
	}
	a := d.agents[socket]
	if a == nil {
		if d.agents == nil {
			d.agents = make(map[string]*sshagent.Agent)
		}
		a = agents.Acquire(socket)
		d.agents[socket] = a
	}
	return a
}

// LeaveAgents gives back the connections to agents. Only logging in needs them.
func (d *Dialer) LeaveAgents() {
	d.mu.Lock()
	held := d.agents
	d.agents = nil
	d.mu.Unlock()
	for _, a := range held {
		agents.Release(a)
	}
}

// Credentials reads the keys of a host. The error is a [BadKeyFile], or ctx's. Nothing
// has been contacted then except the agent.
func (d *Dialer) Credentials(ctx context.Context, host *Config) (*identity.Credentials, error) {
	config := host.Auth.Identities
	if host.Auth.AsksAgent {
		config.Agent = d.agent(host.AgentSocket)
	}
	c, err := identity.Read(ctx, &d.keys, &config)
	return c, keyFileFailure(host.Name, err)
}

// Call is one call of [Dialer.Dial].
type Call struct {
	Host *Config

	// Incoming is asked about channels that the host opens, as in [conn.Config]. If nil,
	// they are refused.
	Incoming func(ssh.NewChannel) (taken bool, err error)

	Phase   func(phase Phase) // is told of each phase of connecting that begins; or nil
	Attempt func(n int)       // is told of each attempt that begins; or nil

	throttle *throttle // bounds the logins to the host, if it is a hop
}

// enter tells that a phase begins.
func (c *Call) enter(phase Phase) {
	if c.Phase != nil {
		c.Phase(phase)
	}
}

// Dial connects to a host and logs in, with as many attempts as the host is given. The Timing
// is of the last attempt, also if it has failed.
//
// The error is a [*Failure], or Fault of the host or of a hop.
func (d *Dialer) Dial(ctx context.Context, call Call) (*Login, Timing, error) {
	host := call.Host
	if host.Fault != nil {
		return nil, Timing{}, host.Fault
	}
	creds, err := d.Credentials(ctx, host)
	if err != nil {
		return nil, Timing{}, interrupted(ctx, err, host, phaseAuth, 0)
	}
	auth := d.newAuthenticator(&call, creds)
	for n := 1; ; n++ {
		if call.Attempt != nil {
			call.Attempt(n)
		}
		a := &attempt{d: d, call: &call, host: host, auth: auth, phases: phases{tell: call.enter}}
		login, err := a.run(ctx)
		timing := a.phases.done()
		timing.Attempts = n
		if err == nil {
			login.Timing = timing
			d.debug("connected", host, "attempts", n, "took", time.Since(a.begun))
			for _, warning := range login.Warnings {
				d.warn(warning, host)
			}
			return login, timing, nil
		}
		retry := n < host.Attempts && ctx.Err() == nil && isTemporary(err)
		if host.Patient && a.clock.Limit() == commandPatience {
			retry = false // nobody has answered a command for so long
		}
		d.debug("connection failed", host, "attempt", n, "error", d.public(err), "retry", retry)
		if !retry {
			return nil, timing, withAttempts(err, n)
		}
		call.enter(phaseRetry)
		select {
		case <-time.After(host.delay(err, n)):
		case <-ctx.Done():
			return nil, timing, interrupted(ctx, withAttempts(err, n), host, phaseConnect, n)
		}
	}
}
