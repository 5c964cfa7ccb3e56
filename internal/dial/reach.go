package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/transport"
)

// reach makes the connection that SSH is spoken over: of TCP, through a hop, or as the user
// wants it.
func (a *attempt) reach(ctx context.Context) (net.Conn, error) {
	switch {
	case a.host.Proxy != nil:
		conn, err := a.throughHop(ctx)
		if err != nil {
			return nil, err
		}
		return conn, nil
	case a.host.DialContext != nil:
		a.phases.enter(phaseConnect)
		conn, err := a.host.DialContext(a.traced(ctx), "tcp", a.host.address())
		if err != nil {
			return nil, err
		}
		if conn == nil {
			return nil, errors.New("DialContext returned neither a connection nor an error")
		}
		return conn, nil
	}
	if a.addrs == nil {
		a.phases.enter(phaseResolve)
		addrs, err := a.d.resolve(ctx, a.host)
		if err != nil {
			return nil, err
		}
		a.addrs = addrs
	}
	a.phases.enter(phaseConnect)
	from, err := transport.LocalAddrs(ctx, a.host.BindAddress)
	if err != nil {
		return nil, err
	}
	return transport.Race(ctx, from, a.addrs)
}

// resolve returns the addresses of a host. At most maxLookups run at once, because each takes
// sockets of its own.
func (d *Dialer) resolve(ctx context.Context, host *Config) ([]netip.AddrPort, error) {
	port, family := uint16(host.Port), host.AddressFamily
	if addr, err := netip.ParseAddr(host.Host); err == nil {
		addr = addr.Unmap()
		if (family == "ip4" && !addr.Is4()) || (family == "ip6" && addr.Is4()) {
			return nil, &net.DNSError{Err: "not an address of the family " + family, Name: host.Host, IsNotFound: true}
		}
		return []netip.AddrPort{netip.AddrPortFrom(addr, port)}, nil
	}
	select {
	case d.lookups <- struct{}{}:
		defer func() { <-d.lookups }()
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, family, host.Host)
	if err != nil {
		return nil, err
	}
	return transport.Interleave(addrs, port), nil
}

// withoutName drops the name from an error of a look-up: users are told it anyway.
func withoutName(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return &lookupError{dns}
	}
	return err
}

type lookupError struct{ err *net.DNSError }

func (e *lookupError) Error() string { return e.err.Err }
func (e *lookupError) Unwrap() error { return e.err }

// commandPatience is how long a command may take to its first byte if no time is set: somebody
// may be logging in with a browser.
const commandPatience = 10 * time.Minute

// traced returns a context that tells a command which host it is for, and tells the clock how
// far the command is.
func (a *attempt) traced(ctx context.Context) context.Context {
	t := &transport.Trace{User: a.host.User, Host: a.host.Name, Asking: a.clock.Pause}
	if a.host.Patient {
		t.Started = func() { a.clock.Restart(commandPatience) }
		t.Heard = func() { a.clock.Restart(a.host.ConnectTimeout) }
	}
	return transport.WithTrace(ctx, t)
}

// transportFailure returns the failure for a connection that a proxy or command has not made,
// or not kept: the proxy's, or the host's own.
func (a *attempt) transportFailure(e *transport.Error) *Failure {
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok && e.Target {
		return a.host.failure(UnknownHost, phaseResolve, &lookupError{dns})
	}
	why := &conn.Error{Text: sanitize.Line(e.Err.Error()), Err: e}
	if e.Target {
		return a.host.failure(NotConnected, phaseConnect, why)
	}
	f := a.host.failure(HopFailed, phaseProxy, &Failure{Kind: NotConnected, Host: e.Proxy, Phase: phaseConnect, Err: why})
	f.Hop, f.Own = e.Proxy, true
	return f
}
