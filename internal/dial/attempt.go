package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/transport"
)

// attempt is one try to connect to a host and log in to it, within its ConnectTimeout.
type attempt struct {
	d    *Dialer
	call *Call
	host *Config
	auth *authenticator

	begun    time.Time
	clock    *deadline.Clock
	phases   phases
	addrs    []netip.AddrPort    // of the host, once looked up
	hop      *Login              // that the last connection goes through
	shown    ssh.PublicKey       // the host key that was accepted
	hello    *conn.Greeting      // of the host, on the last connection
	badKey   *Failure            // why the host key was not accepted
	listings knownhosts.Listings // of KnownHostsCommand
}

// run makes the attempt. It takes more than one connection if the host is known under a key of
// another type than it showed, does not let all keys be offered on one, or has refused a
// Kerberos ticket.
func (a *attempt) run(ctx context.Context) (*Login, error) {
	a.begun = time.Now()
	ctx, clock, stop := deadline.Start(ctx, a.host.ConnectTimeout)
	defer stop()
	a.clock = clock
	if login, err := a.throughMaster(ctx); login != nil || err != nil {
		return login, err
	}
	preferred, err := a.preferredKeys(ctx)
	if err != nil {
		return nil, err
	}
	hostKeys := preferred
	for logins, asked, back := 1, false, false; ; {
		login, err := a.connect(ctx, hostKeys)
		if err == nil {
			return login, nil
		}
		failure, _ := err.(*Failure)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case failure != nil && len(failure.Known) > 0 && !asked:
			asked, hostKeys = true, failure.Known
		case asked && !back && conn.IsNegotiation(err):
			back, hostKeys = true, preferred // it has no such key: then the one it showed counts
		case errors.Is(err, errWithoutTicket): // once: the next connection has none to offer
		case errors.Is(err, errNextConnection) && logins < MaxLogins:
			logins++
		case errors.Is(err, errNextConnection):
			return nil, a.auth.refusal(errors.New("some keys were not offered: the host ends connections after too many"))
		default:
			return nil, err
		}
	}
}

// connect makes one connection and logs in over it, when the throttle of the host lets it.
func (a *attempt) connect(ctx context.Context, hostKeys []string) (*Login, error) {
	throttle := a.call.throttle
	if throttle == nil {
		throttle = a.d.hops.slowedDown(a.host)
	}
	if throttle != nil {
		resume := a.clock.Pause()
		err := throttle.enter(ctx)
		resume()
		if err != nil {
			return nil, a.fail(ctx, err)
		}
	}
	login, err := a.connectNow(ctx, hostKeys)
	switch dropped := isDropped(err); {
	case throttle != nil:
		throttle.leave(err == nil, dropped)
	case dropped:
		throttle = a.d.hops.slowDown(a.host)
	}
	if isPenalty(err) {
		throttle.hold(a.host.delay(err, 1))
	}
	return login, err
}

func (a *attempt) connectNow(ctx context.Context, hostKeys []string) (*Login, error) {
	transport, err := a.reach(ctx)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	a.phases.enter(phaseHandshake)
	a.hello = new(conn.Greeting)
	w := conn.NewWire(transport, &a.d.streams, conn.Stall(a.host.ConnectTimeout), a.hello)
	// The SSH library knows no contexts. Closing the transport ends its waits, whatever the
	// server does or leaves undone.
	stop := context.AfterFunc(ctx, func() { transport.Close() })
	a.auth.begin(ctx, a.clock, w)
	// The SSH library keeps its configuration, and so these callbacks, for as long as the
	// connection lasts. What they hold would be most of the memory of an idle connection:
	// auth is released below, and checkHostKey releases the attempt.
	auth := a.auth
	config := &ssh.ClientConfig{
		User:            a.host.User,
		ClientVersion:   clientVersion,
		AuthCallback:    func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) { return auth.next(c) },
		HostKeyCallback: a.checkHostKey(ctx),
		BannerCallback: func(text string) error {
			auth.banner.add(text)
			return nil
		},
	}
	a.host.Algorithms.Apply(config, hostKeys)
	link, channels, requests, err := ssh.NewClientConn(w, a.host.address(), config)
	if err != nil {
		stop()
		transport.Close()
		err = a.fail(ctx, err)
		a.auth.leavePassword(err)
		a.auth.banner.end()
		return nil, err
	}
	if !stop() { // ctx has ended, and the connection with it
		link.Close()
		conn.Drain(channels, requests)
		a.auth.turn.Pass()
		a.auth.banner.end()
		return nil, a.fail(ctx, deadline.Cause(ctx))
	}
	auth = nil
	w.DropGreeting()
	login := a.auth.success(link.RemoteAddr(), a.shown)
	if notice := lines(a.hello.Text(), mostBanner); notice != "" {
		login.Banner = lines(join(notice, login.Banner), mostBanner)
	}
	a.serve(login, link, w, channels, requests)
	return login, nil
}

// clientVersion is what the client calls itself (RFC 4253, section 4.2).
const clientVersion = "SSH-2.0-fleetssh"

// serve makes the connection of a login, and begins to serve the host.
func (a *attempt) serve(login *Login, link ssh.Conn, w *conn.Wire, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	host := a.host
	config := conn.Config{
		Link: link, Wire: w, Name: host.Name, Log: a.d.log, Host: host.Describe,
		KeepAlive: host.KeepAlive, Incoming: a.call.Incoming,
	}
	if config.Incoming == nil {
		config.Incoming = func(ssh.NewChannel) (bool, error) { return false, nil }
	}
	if login.Master != "" {
		config.KeepAlive = 0 // the master keeps its connection alive, and does not pass probes on
	}
	if a.hop != nil {
		login.Hop, config.Hop = a.hop, a.hop.Conn
	}
	if host.ForwardAgent {
		if host.AgentSocket != "" {
			agent := agents.Acquire(host.AgentSocket)
			config.Agent, config.OnDone = agent, func() { agents.Release(agent) }
		} else {
			a.d.warn(NoAgentToForward, host)
		}
	}
	login.Conn = conn.New(config)
	login.Conn.Serve(channels, requests)
}

// NoAgentToForward is why commands run without an agent, as with ssh.
const NoAgentToForward = "there is no SSH agent to forward: SSH_AUTH_SOCK is not set"

// checkHostKey returns the callback for host keys. Later key exchanges on the connection must
// show the same key as the first.
func (a *attempt) checkHostKey(ctx context.Context) ssh.HostKeyCallback {
	var first string
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		if first != "" {
			if first != string(key.Marshal()) {
				return errors.New("the host key changed while connected")
			}
			return nil
		}
		a.phases.enter(phaseHostKey)
		warning, err := a.judgeHostKey(ctx, remote, key)
		if err != nil {
			a.badKey = a.host.failure(BadHostKey, phaseHostKey, err)
			a.badKey.Key = key
			if f, ok := err.(*Failure); ok {
				a.badKey.Key, a.badKey.Known, a.badKey.Err = f.Key, f.Known, f.Err
			}
			return err
		}
		first = string(key.Marshal())
		a.shown = copyKey(key)
		if warning != "" {
			a.auth.warnings = append(a.auth.warnings, warning)
		}
		a.phases.enter(phaseAuth)
		a, ctx = nil, nil // the SSH library keeps this callback: see connectNow
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

// fail turns what went wrong while connecting into a [*Failure], or into one of the errors by
// which a connection ends that is to be followed by another. It is where errors of the SSH
// library become ours.
func (a *attempt) fail(ctx context.Context, err error) error {
	phase := a.phases.current()
	if ctx.Err() != nil {
		return a.interrupted(ctx, phase)
	}
	if _, ours := err.(*Failure); ours {
		return err
	}
	proxy, ofProxy := errors.AsType[*transport.Error](err)
	switch {
	case ofProxy:
		return a.transportFailure(proxy)
	case phase == phaseResolve:
		return a.host.failure(UnknownHost, phase, withoutName(err))
	case a.badKey != nil:
		key := a.badKey
		a.badKey = nil
		return key
	case phase == phaseAuth && a.auth.wantsNewPassword(err):
		f := a.host.failure(LoginRefused, phase, nil)
		f.User, f.Tried, f.Banner, f.Expired = a.host.User, compress(a.auth.tried), a.auth.banner.end(), true
		return f
	case errors.Is(err, errNotSent):
		return a.auth.unsent
	case errors.Is(err, errRefused), phase == phaseAuth && conn.IsUnableToLogIn(err):
		return a.auth.refusal(nil)
	case errors.Is(err, errNextConnection):
		return errNextConnection
	case phase != phaseConnect && a.hopEnded(err):
		return a.lostHop()
	case errors.Is(err, errWithoutTicket):
		return errWithoutTicket
	case phase == phaseAuth && a.auth.tries > 0 && conn.IsDisconnect(err):
		// Typically "Too many authentication failures".
		if a.auth.hungUp() {
			return errNextConnection
		}
		return a.auth.refusal(errors.New(sanitize.Line(conn.Plain(err))))
	case phase == phaseHandshake && a.hello.Err(err) != nil:
		err = a.hello.Err(err)
	case errors.Is(err, errBroken), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed) && phase != phaseConnect:
		// ErrClosed: a write of the SSH library has failed, which then closes the
		// connection itself. sshd does this when it has too many logins under way (MaxStartups).
		err = &conn.Error{Text: "the host closed the connection", Err: io.EOF}
	case phase != phaseConnect && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
		err = &conn.Error{Text: "the host closed the connection", Err: err}
	case phase != phaseConnect:
		err = &conn.Error{Text: sanitize.Line(conn.Plain(err)), Err: err}
	default:
		err = transport.WithoutAddress(err)
	}
	f := a.host.failure(NotConnected, phase, err)
	f.Said = a.said(phase)
	return f
}

// interrupted returns the failure of an attempt whose context has ended.
func (a *attempt) interrupted(ctx context.Context, phase Phase) *Failure {
	f := Interrupted(ctx, Failure{
		Host: a.host.Name, Port: a.host.Port, Phase: phase, After: min(time.Since(a.begun), a.clock.Limit()),
	})
	if f.Kind == TimedOut {
		f.Said, f.Foreign = a.said(phase), phase == phaseHandshake && a.hello.Err(deadline.Cause(ctx)) != nil
	}
	return f
}

// said returns what the host has said before it ended the connection, or was given up.
func (a *attempt) said(phase Phase) string {
	switch phase {
	case phaseHandshake:
		return a.hello.Summary()
	case phaseAuth:
		return sanitize.Line(a.auth.banner.end())
	}
	return ""
}
