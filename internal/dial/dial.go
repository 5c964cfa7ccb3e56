// Package dial connects and logs in to hosts: over TCP, through hops, proxies and commands, or
// over the connection of an OpenSSH master. It also scans host keys. A connection that fails is
// reported as a [*Failure]. The package knows the settings of a host only as a [Config].
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

// maxLookups limits how many names are looked up at once.
const maxLookups = 64

// Dialer holds what the connections of one client share. Its methods may be called
// concurrently.
type Dialer struct {
	log       *slog.Logger
	public    func(error) error
	passwords *password.Table
	streams   atomic.Int32 // see conn.Wire
	keys      keyfile.Ring
	revoked   krl.Files
	lookups   chan struct{} // holds a token for each running look-up
	listers   *knownhosts.Commands
	hops      hops

	mu       sync.Mutex // protects what follows
	closed   bool
	agents   map[string]*sshagent.Agent // by socket
	kerberos map[gss.Options]*password.Tickets
}

// Options configure a [Dialer].
type Options struct {
	Log       *slog.Logger
	Public    func(error) error // converts an error to the one that the log shows
	Passwords *password.Table   // nil: a password that one host refuses is still sent to the others
}

// New returns a Dialer. The caller must call its Close.
func New(o Options) *Dialer {
	return &Dialer{
		log: o.Log, public: o.Public, passwords: o.Passwords,
		lookups: make(chan struct{}, maxLookups), listers: knownhosts.NewCommands(),
	}
}

// debug logs a message about a host. It describes the host only if the level is enabled.
func (d *Dialer) debug(text string, host *Config, args ...any) {
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		d.log.Debug(text, append([]any{"host", host.Describe()}, args...)...)
	}
}

// warn logs a warning about a host.
func (d *Dialer) warn(text string, host *Config, args ...any) {
	d.log.Warn(text, append([]any{"host", host.Describe()}, args...)...)
}

// Close closes the connections to hops and releases the connections to agents. The caller must
// have closed the connections that Dial returned.
func (d *Dialer) Close() {
	d.hops.close()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.ReleaseAgents()
}

// RetryHops forgets the failures of hops that are at least as old as age, so that the next host
// behind such a hop tries it again.
func (d *Dialer) RetryHops(age time.Duration) { d.hops.retry(age) }

// DropHops closes the connections to hops that are no longer needed.
func (d *Dialer) DropHops(dropped map[*Config]bool) { d.hops.drop(dropped) }

// agents holds the connections of this process to SSH agents: see
// docs/adr/0005-one-agent-connection.md.
var agents sshagent.Table

// agent returns the connection to an SSH agent, or nil if the socket is empty or the Dialer is
// closed. The Dialer holds the connection until ReleaseAgents.
func (d *Dialer) agent(socket string) *sshagent.Agent {
	if socket == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil // a dial is still running, and nothing would release the agent after it
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

// ReleaseAgents releases the connections to agents. Only logging in needs them.
func (d *Dialer) ReleaseAgents() {
	d.mu.Lock()
	held := d.agents
	d.agents = nil
	d.mu.Unlock()
	for _, a := range held {
		agents.Release(a)
	}
}

// Credentials reads the keys that the host may be offered. It contacts the agent, but not the
// host. The error is a [BadKeyFile], or the error of ctx.
func (d *Dialer) Credentials(ctx context.Context, host *Config) (*identity.Credentials, error) {
	config := host.Auth.Identities
	if host.Auth.AsksAgent {
		config.Agent = d.agent(host.AgentSocket)
	}
	c, err := identity.Read(ctx, &d.keys, &config)
	return c, keyFileFailure(host.Name, err)
}

// Call holds the arguments of [Dialer.Dial].
type Call struct {
	Host *Config

	// Incoming handles the channels that the host opens, as in [conn.Config]. If it is nil,
	// they are refused.
	Incoming func(ssh.NewChannel) (taken bool, err error)

	Phase   func(phase Phase) // called when a phase of connecting begins; or nil
	Attempt func(n int)       // called when an attempt begins; or nil

	// Aside is called when the host begins to wait for the user, which may take long, and the
	// function that it returns when the host continues; or nil. Meanwhile others may take its turn.
	Aside func() (back func())

	throttle *throttle // limits the logins to the host, if it is a hop
}

// enter calls Phase.
func (c *Call) enter(phase Phase) {
	if c.Phase != nil {
		c.Phase(phase)
	}
}

// Dial connects and logs in to a host, with up to Attempts attempts. The Timing is that of the
// last attempt, even if it failed.
//
// The error is a [*Failure], or the Fault of the host or of a hop.
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
	for n, confirmed := 1, false; ; n++ {
		if call.Attempt != nil {
			call.Attempt(n)
		}
		a := &attempt{d: d, call: &call, host: host, auth: auth, phases: phases{onEnter: call.enter}}
		login, err := a.run(ctx)
		timing := a.phases.done()
		timing.Attempts = n
		if err == nil {
			login.Timing = timing
			d.traceConnected(host, login, time.Since(a.begun))
			for _, warning := range login.Warnings {
				d.warn(warning, host)
			}
			return login, timing, nil
		}
		if key := unknownKey(err); key != nil && host.HostKeys.Confirm != nil && !confirmed {
			if err = d.confirm(ctx, &call, err, key); err == nil {
				confirmed = true
				n-- // the attempt that found the key does not count
				continue
			}
			return nil, timing, err
		}
		retry := n < host.Attempts && ctx.Err() == nil && isTemporary(err)
		if host.ExtendTimeout && a.clock.Limit() == firstByteTimeout {
			retry = false // the proxy command sent nothing in ten minutes
		}
		d.traceFailed(host, &timing, err, retry)
		if !retry {
			return nil, timing, withAttempts(err, n)
		}
		call.enter(phaseRetry)
		pause := host.delay(err, n)
		d.debug("waiting for the next attempt", host, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, timing, interrupted(ctx, withAttempts(err, n), host, phaseConnect, n)
		}
	}
}
