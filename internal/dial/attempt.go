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

// attempt is one attempt to connect and log in to a host, limited by ConnectTimeout.
type attempt struct {
	d    *Dialer
	call *Call
	host *Config
	auth *authenticator

	begun    time.Time
	clock    *deadline.Clock
	phases   phases
	addrs    []netip.AddrPort    // the addresses of the host, after the look-up
	hop      *Login              // the hop of the last connection
	hostKey  ssh.PublicKey       // the accepted host key
	greeting *conn.Greeting      // what the host sent before SSH, on the last connection
	badKey   *Failure            // why the host key was rejected
	heard    bool                // traceHost was called for the last connection
	listings knownhosts.Listings // the output of KnownHostsCommand
}

// run makes the attempt. It connects again if the host showed a key of one type but is known by
// a key of another, if the host allows fewer keys on a connection than there are to offer, and
// after the host refused a Kerberos ticket.
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
	for logins, askedKnown, askedPreferred := 1, false, false; ; {
		login, err := a.connect(ctx, hostKeys)
		if err == nil {
			return login, nil
		}
		failure, _ := err.(*Failure)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case failure != nil && len(failure.Known) > 0 && !askedKnown:
			askedKnown, hostKeys = true, failure.Known
		case askedKnown && !askedPreferred && conn.IsNegotiation(err):
			askedPreferred, hostKeys = true, preferred // the host has no key of a known type
		case errors.Is(err, errWithoutTicket): // at most once: the next connection offers no ticket
		case errors.Is(err, errNextConnection) && logins < MaxLogins:
			logins++
		case errors.Is(err, errNextConnection):
			return nil, a.auth.refusal(errors.New("some keys were not offered: the host closes the connection after too many keys"))
		default:
			return nil, err
		}
	}
}

// connect makes one connection and logs in over it. It first waits for the throttle of the host.
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

// connectNow is connect without the throttle.
func (a *attempt) connectNow(ctx context.Context, hostKeys []string) (*Login, error) {
	transport, err := a.reach(ctx)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	a.phases.enter(phaseHandshake)
	a.greeting, a.heard = new(conn.Greeting), false
	w := conn.NewWire(transport, &a.d.streams, conn.Stall(a.host.ConnectTimeout), a.greeting)
	// The handshake of the SSH library takes no context. Closing the transport ends it,
	// whatever the host does.
	stop := context.AfterFunc(ctx, func() { transport.Close() })
	a.auth.begin(ctx, a.clock, w)
	// The SSH library keeps its configuration, including these callbacks, as long as the
	// connection. Most of the memory of an idle connection would be what they refer to, so
	// auth is cleared below, and checkHostKey clears its attempt.
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
	a.traceOffer(config)
	link, channels, requests, err := ssh.NewClientConn(w, a.host.address(), config)
	if err != nil {
		stop()
		transport.Close()
		a.traceHost()
		err = a.fail(ctx, err)
		a.auth.leavePassword(err)
		a.auth.banner.end()
		return nil, err
	}
	if !stop() { // ctx has ended, which closed the transport
		link.Close()
		conn.Drain(channels, requests)
		a.auth.turn.Pass()
		a.auth.banner.end()
		return nil, a.fail(ctx, deadline.Cause(ctx))
	}
	auth = nil
	w.DropGreeting()
	login := a.auth.success(link.RemoteAddr(), a.hostKey)
	login.Version, login.Offered = a.greeting.Version(), a.greeting.Offer()
	if negotiated, ok := link.(ssh.AlgorithmsConnMetadata); ok {
		login.Algorithms = negotiated.Algorithms()
	}
	if notice := lines(a.greeting.Text(), maxBannerBytes); notice != "" {
		login.Banner = lines(join(notice, login.Banner), maxBannerBytes)
	}
	a.serve(login, link, w, channels, requests)
	return login, nil
}

// clientVersion is the identification string of the client (RFC 4253, section 4.2).
const clientVersion = "SSH-2.0-fleetssh"

// serve makes the [conn.Conn] of a login and starts to serve it.
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
		config.KeepAlive = 0 // the master sends its own keep-alives and does not forward ours
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

// NoAgentToForward is the warning if an agent is to be forwarded and there is none. As with ssh,
// the login succeeds without it.
const NoAgentToForward = "there is no SSH agent to forward: SSH_AUTH_SOCK is not set"

// checkHostKey returns the host key callback of one connection. Every later key exchange must
// show the same key as the first one.
func (a *attempt) checkHostKey(ctx context.Context) ssh.HostKeyCallback {
	var first string
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		if first != "" {
			if first != string(key.Marshal()) {
				return errors.New("the host key changed while connected")
			}
			return nil
		}
		a.traceHost()
		a.phases.enter(phaseHostKey)
		warning, err := a.judgeHostKey(ctx, remote, key)
		if err != nil {
			a.badKey = a.host.failure(BadHostKey, phaseHostKey, err)
			a.badKey.Key = key
			if f, ok := err.(*Failure); ok {
				a.badKey.Key, a.badKey.Known, a.badKey.Err = f.Key, f.Known, f.Err
			}
			a.traceHostKey(key, a.badKey)
			return err
		}
		first = string(key.Marshal())
		a.hostKey = copyKey(key)
		a.traceHostKey(key, nil)
		if warning != "" {
			a.auth.warnings = append(a.auth.warnings, warning)
		}
		a.phases.enter(phaseAuth)
		a, ctx = nil, nil // the SSH library keeps the callback: see connectNow
		return nil
	}
}

// copyKey returns a copy of a key that does not keep the received packet in memory.
func copyKey(key ssh.PublicKey) ssh.PublicKey {
	if copied, err := ssh.ParsePublicKey(key.Marshal()); err == nil {
		return copied
	}
	return key
}

// fail converts an error of connecting to a [*Failure], or to errNextConnection or
// errWithoutTicket, after which run connects again. No other function translates errors of the
// SSH library.
func (a *attempt) fail(ctx context.Context, err error) error {
	phase := a.phases.current()
	if ctx.Err() != nil {
		return a.interrupted(ctx, phase)
	}
	if _, ours := err.(*Failure); ours {
		return err
	}
	proxy, isProxy := errors.AsType[*transport.Error](err)
	switch {
	case isProxy:
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
	case errors.Is(err, errWithheld):
		return a.auth.withheld
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
	case phase == phaseHandshake && a.greeting.Err(err) != nil:
		err = a.greeting.Err(err)
	case errors.Is(err, errBroken), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed) && phase != phaseConnect:
		// After a failed write, the SSH library closes the connection, and the error is
		// ErrClosed. sshd drops connections when too many logins are pending (MaxStartups).
		err = &conn.Error{Text: "the host closed the connection", Err: io.EOF}
	case phase != phaseConnect && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
		err = &conn.Error{Text: "the host closed the connection", Err: err}
	case phase != phaseConnect:
		err = &conn.Error{Text: sanitize.Line(conn.Plain(err)), Err: err}
	default:
		err = transport.WithoutAddress(err)
	}
	f := a.host.failure(NotConnected, phase, err)
	f.Said = a.hostText(phase)
	return f
}

// interrupted returns the failure of an attempt whose context has ended.
func (a *attempt) interrupted(ctx context.Context, phase Phase) *Failure {
	f := Interrupted(ctx, Failure{
		Host: a.host.Name, Port: a.host.Port, Phase: phase, After: min(time.Since(a.begun), a.clock.Limit()),
	})
	if f.Kind == TimedOut {
		f.Said, f.NotSSH = a.hostText(phase), phase == phaseHandshake && a.greeting.Err(deadline.Cause(ctx)) != nil
	}
	return f
}

// hostText returns the text that the host sent before the attempt failed, on one line.
func (a *attempt) hostText(phase Phase) string {
	switch phase {
	case phaseHandshake:
		return a.greeting.Summary()
	case phaseAuth:
		return sanitize.Line(a.auth.banner.end())
	}
	return ""
}
