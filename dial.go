package fleetssh

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/dial"
	"fleetssh/internal/gss"
	"fleetssh/internal/keyfile"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/krl"
	"fleetssh/internal/password"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/spool"
	"fleetssh/internal/sshagent"
	"fleetssh/internal/transport"
)

// maxLookups is how many names are looked up at once.
const maxLookups = 64

// dialer is what the connections of one [ParallelClient], or of one [Dial], share.
type dialer struct {
	log     *slog.Logger
	budget  *spool.Budget
	streams atomic.Int32 // see wire
	keys    keyfile.Ring
	revoked krl.Files
	lookups chan struct{}
	listers *knownhosts.Commands
	known   func() (HostKeyPolicy, error) // the default policy, read once
	hops    hops

	passwords *password.Table                                        // nil: each host has its own opinion of them
	askAgain  func(context.Context, RefusedPassword) (string, error) // nil: nobody is asked

	mu       sync.Mutex // protects what follows
	closed   bool
	agents   map[string]*sshagent.Agent // by socket
	kerberos map[gss.Options]*password.Tickets
}

func newDialer(log *slog.Logger, outputMemory int64) *dialer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if outputMemory == 0 {
		outputMemory = defaultOutputMemory
	}
	return &dialer{
		log:     log,
		budget:  spool.NewBudget(outputMemory),
		lookups: make(chan struct{}, maxLookups),
		listers: knownhosts.NewCommands(),
		known:   sync.OnceValues(func() (HostKeyPolicy, error) { return KnownHosts() }),
	}
}

// debug logs something about a host. With nobody who reads it, the host is not copied.
func (d *dialer) debug(text string, host *HostConfig, args ...any) {
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		d.log.Debug(text, append([]any{"host", *host}, args...)...)
	}
}

// close gives up what the dialer holds, when the clients of its hosts are closed.
func (d *dialer) close() error {
	d.hops.close()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.leaveAgents()
	return d.budget.Close()
}

// agents holds the connections of the process to SSH agents. See
// docs/adr/0005-one-agent-connection.md.
var agents sshagent.Table

// agent returns the connection to an SSH agent, nil if the socket is empty or the dialer is
// closed. It is held until leaveAgents.
func (d *dialer) agent(socket string) *sshagent.Agent {
	if socket == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil // who is on the way still must not hold what nobody would give back
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

// leaveAgents gives back the connections to agents.
func (d *dialer) leaveAgents() {
	d.mu.Lock()
	held := d.agents
	d.agents = nil
	d.mu.Unlock()
	for _, a := range held {
		agents.Release(a)
	}
}

// dial connects to host and logs in, with as many attempts as host allows. The client keeps
// host, which must not change any more. pace, if not nil, bounds the logins to it, and work,
// if not nil, is told how far it is. The timing is that of the last attempt, also if it failed.
func (d *dialer) dial(ctx context.Context, host *HostConfig, pace *pace, work *progress) (*Client, Timing, error) {
	if err := host.unusable(); err != nil {
		return nil, Timing{}, err
	}
	user, err := host.login()
	if err != nil {
		return nil, Timing{}, &ConfigError{Host: -1, Field: "HostConfig.User", Reason: err.Error(), Err: err}
	}
	policy := host.HostKeys
	if policy == nil {
		if policy, err = d.known(); err != nil {
			return nil, Timing{}, host.failure(dial.BadHostKey, "host_key", err)
		}
	}
	creds, err := d.credentials(ctx, host, user)
	if err != nil {
		return nil, Timing{}, endedOr(ctx, err, host, "auth", 0)
	}
	l := &login{host: host, user: user, creds: creds, work: work}
	l.shared, l.asks = d.passwords.Get(user, host.Auth.Password), d.asker(&host.Auth)
	if g := host.Auth.GSSAPI; g != nil {
		l.kerberosShared, l.protected = d.tickets(g), d.passwords != nil
		l.tickets, _ = l.kerberosShared.Get()
	}
	for n := 1; ; n++ {
		a := &attempt{d: d, host: host, policy: policy, pace: pace, login: l}
		a.phases.work = work
		work.attempt(n)
		client, err := a.run(ctx)
		timing := a.phases.done()
		timing.Attempts = n
		if err == nil {
			client.login.timing = timing
			d.debug("connected", host, "attempts", n, "took", time.Since(a.begun))
			for _, warning := range client.login.warnings {
				d.log.Warn(warning, "host", *host)
			}
			return client, timing, nil
		}
		retry := n < host.attempts() && ctx.Err() == nil && dial.IsTemporary(err)
		if host.ConnectTimeout == 0 && a.clock.Limit() == commandPatience {
			retry = false // nobody has answered to a command for so long
		}
		d.debug("connection failed", host, "attempt", n, "error", publicError(err), "retry", retry)
		if !retry {
			return nil, timing, dial.WithAttempts(err, n)
		}
		work.enter("retry")
		select {
		case <-time.After(host.pause(err, n)):
		case <-ctx.Done():
			return nil, timing, endedOr(ctx, dial.WithAttempts(err, n), host, "connect", n)
		}
	}
}

// attempt is one try to connect to a host and log in to it, within its
// ConnectTimeout.
type attempt struct {
	d      *dialer
	host   *HostConfig
	policy HostKeyPolicy
	pace   *pace // nil for all but hops, which are paced from the beginning
	login  *login

	begun    time.Time
	clock    *deadline.Clock
	phases   phases
	addrs    []netip.AddrPort    // of the host, once looked up
	hop      *Client             // that the last connection goes through
	shown    ssh.PublicKey       // the host key that was accepted
	hello    *conn.Greeting      // of the host, on the last connection
	hostKey  *dial.Failure       // why the key was not accepted
	listings knownhosts.Listings // of KnownHostsCommand
}

// run makes the attempt. It takes more than one connection if the host is known
// under a key of another type than it showed, does not let all keys be offered on
// one, or has refused a Kerberos ticket.
func (a *attempt) run(ctx context.Context) (*Client, error) {
	a.begun = time.Now()
	ctx, clock, stop := deadline.Start(ctx, a.host.connectTimeout())
	defer stop()
	a.clock = clock
	if client, err := a.throughMaster(ctx); client != nil || err != nil {
		return client, err
	}
	preferred, err := a.preferredKeys(ctx)
	if err != nil {
		return nil, err
	}
	hostKeys := preferred
	for logins, asked, back := 1, false, false; ; {
		client, err := a.connect(ctx, hostKeys)
		if err == nil {
			return client, nil
		}
		key, _ := err.(*dial.Failure)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case key != nil && len(key.Known) > 0 && !asked:
			asked, hostKeys = true, key.Known
		case asked && !back && conn.IsNegotiation(err):
			back, hostKeys = true, preferred // it has no such key: then the one it showed counts
		case errors.Is(err, errWithoutTicket): // once: the next login has none to offer
		case errors.Is(err, errNextConnection) && logins < maxLogins:
			logins++
		case errors.Is(err, errNextConnection):
			return nil, a.login.refusal(errors.New("some keys were not offered: the host ends connections after too many"))
		default:
			return nil, err
		}
	}
}

// connect makes one connection and logs in over it.
func (a *attempt) connect(ctx context.Context, hostKeys []string) (*Client, error) {
	pace := a.pace
	if pace == nil {
		pace = a.d.hops.paceOf(a.host)
	}
	if pace != nil {
		resume := a.clock.Pause()
		err := pace.enter(ctx)
		resume()
		if err != nil {
			return nil, a.fail(ctx, err)
		}
	}
	client, err := a.connectNow(ctx, hostKeys)
	switch dropped := dial.IsDropped(err); {
	case pace != nil:
		pace.leave(err == nil, dropped)
	case dropped:
		pace = a.d.hops.slowDown(a.host)
	}
	if dial.IsPenalty(err) {
		pace.hold(a.host.pause(err, 1))
	}
	return client, err
}

func (a *attempt) connectNow(ctx context.Context, hostKeys []string) (*Client, error) {
	transport, err := a.reach(ctx)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	a.phases.enter("handshake")
	a.hello = new(conn.Greeting)
	w := conn.NewWire(transport, &a.d.streams, conn.Stall(a.host.connectTimeout()), a.hello)
	// The SSH library knows no context. Closing the transport is what ends its
	// waits, whatever the server does or leaves undone.
	stop := context.AfterFunc(ctx, func() { transport.Close() })
	a.login.begin(ctx, a.clock, w)
	// The library keeps its configuration as long as the connection: what is
	// for logging in only is let go of, below and in checkHostKey.
	login := a.login
	config := &ssh.ClientConfig{
		User:            a.login.user,
		ClientVersion:   clientVersion,
		AuthCallback:    func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) { return login.next(c) },
		HostKeyCallback: a.checkHostKey(ctx),
		BannerCallback: func(text string) error {
			login.banner.add(text)
			return nil
		},
	}
	a.host.algorithms().Apply(config, hostKeys)
	link, channels, requests, err := ssh.NewClientConn(w, hostPort(a.host.Host, a.host.port()), config)
	if err != nil {
		stop()
		transport.Close()
		err = a.fail(ctx, err)
		a.login.leavePassword(err)
		a.login.banner.end()
		return nil, err
	}
	if !stop() { // ctx has ended, and the connection with it
		link.Close()
		conn.Drain(channels, requests)
		a.login.turn.Pass()
		a.login.banner.end()
		return nil, a.fail(ctx, deadline.Cause(ctx))
	}
	login = nil
	w.DropGreeting()
	how := a.login.success(link.RemoteAddr(), a.shown)
	if notice := lines(a.hello.Text(), mostBanner); notice != "" {
		how.banner = lines(join(notice, how.banner), mostBanner)
	}
	c := newClient(a, link, w, how)
	c.conn.Serve(channels, requests)
	return c, nil
}

// clientVersion is what the client calls itself (RFC 4253, section 4.2).
const clientVersion = "SSH-2.0-fleetssh"

// checkHostKey returns the callback for host keys. Later key exchanges on the
// connection must show the same key as the first.
func (a *attempt) checkHostKey(ctx context.Context) ssh.HostKeyCallback {
	var first string
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		if first != "" {
			if first != string(key.Marshal()) {
				return errors.New("the host key changed while connected")
			}
			return nil
		}
		a.phases.enter("host_key")
		warning, err := a.judgeHostKey(ctx, remote, key)
		if err != nil {
			failure := a.host.failure(dial.BadHostKey, "host_key", err)
			failure.Key = key
			if f, ok := err.(*dial.Failure); ok {
				failure.Key, failure.Known, failure.Err = f.Key, f.Known, f.Err
			}
			a.hostKey = failure
			return err
		}
		first = string(key.Marshal())
		a.shown = copyKey(key)
		if warning != "" {
			a.login.warnings = append(a.login.warnings, warning)
		}
		a.phases.enter("auth")
		a, ctx = nil, nil // see connect
		return nil
	}
}

// copyKey returns a key that does not hold the packet it came in.
func copyKey(key ssh.PublicKey) ssh.PublicKey {
	if own, err := ssh.ParsePublicKey(key.Marshal()); err == nil {
		return own
	}
	return key
}

// fail turns what went wrong while connecting into an error of this package. It
// is the only place that knows the errors of the SSH library.
func (a *attempt) fail(ctx context.Context, err error) error {
	phase := string(a.phases.current())
	name, port := a.host.name(), a.host.port()
	if ctx.Err() != nil {
		f := dial.Interrupted(ctx, dial.Failure{Host: name, Port: port, Phase: phase, After: min(time.Since(a.begun), a.clock.Limit())})
		if f.Kind == dial.TimedOut {
			switch phase {
			case "handshake":
				f.Said, f.Foreign = a.hello.Summary(), a.hello.Err(context.DeadlineExceeded) != nil
			case "auth":
				f.Said = sanitize.Line(a.login.banner.end())
			}
		}
		return f
	}
	proxy, ofProxy := errors.AsType[*transport.Error](err)
	switch {
	case isFailure(err):
		return err
	case ofProxy:
		return a.transportError(proxy)
	case phase == "resolve":
		return a.host.failure(dial.UnknownHost, phase, withoutName(err))
	case a.hostKey != nil:
		key := a.hostKey
		a.hostKey = nil
		return key
	case phase == "auth" && a.login.wantsNewPassword(err):
		return &dial.Failure{
			Kind: dial.LoginRefused, Host: name, Port: port, Phase: phase, User: a.login.user,
			Tried: compress(a.login.tried), Banner: a.login.banner.end(), Expired: true,
		}
	case errors.Is(err, errNotSent):
		return a.login.unsent
	case errors.Is(err, errRefused), phase == "auth" && conn.IsUnableToLogIn(err):
		return a.login.refusal(nil)
	case errors.Is(err, errNextConnection):
		return errNextConnection
	case phase != "connect" && a.hopEnded(err):
		return a.lostHop(a.hop)
	case errors.Is(err, errWithoutTicket):
		return errWithoutTicket
	case phase == "auth" && a.login.tries > 0 && conn.IsDisconnect(err):
		// Typically "Too many authentication failures".
		if a.login.hungUp() {
			return errNextConnection
		}
		return a.login.refusal(errors.New(sanitize.Line(conn.Plain(err))))
	case phase == "handshake" && a.hello.Err(err) != nil:
		err = a.hello.Err(err)
	case errors.Is(err, errBroken), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed) && phase != "connect":
		// ErrClosed: a write of the SSH library has failed, which then closes the
		// connection itself. sshd does this when it has too many logins under way (MaxStartups).
		err = &conn.Error{Text: "the host closed the connection", Err: io.EOF}
	case phase != "connect" && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
		err = &conn.Error{Text: "the host closed the connection", Err: err}
	case phase != "connect":
		err = &conn.Error{Text: sanitize.Line(conn.Plain(err)), Err: err}
	default:
		err = transport.WithoutAddress(err)
	}
	said := ""
	switch phase {
	case "handshake":
		said = a.hello.Summary()
	case "auth":
		said = sanitize.Line(a.login.banner.end())
	}
	f := a.host.failure(dial.NotConnected, phase, err)
	f.Said = said
	return f
}

func isFailure(err error) bool {
	_, ok := err.(*dial.Failure)
	return ok
}

// failure returns a failure of connecting to h.
func (h *HostConfig) failure(kind dial.Kind, phase string, err error) *dial.Failure {
	return &dial.Failure{Kind: kind, Host: h.name(), Port: h.port(), Phase: phase, Err: err}
}

// endedOr returns the failure for a context that has ended, or err if it has not.
func endedOr(ctx context.Context, err error, host *HostConfig, phase string, attempts int) error {
	if f := dial.Interrupted(ctx, dial.Failure{Host: host.name(), Port: host.port(), Phase: phase, Attempts: attempts}); f != nil {
		return f
	}
	return err
}
