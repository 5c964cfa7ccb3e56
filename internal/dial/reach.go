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

// reach makes the transport under SSH: a TCP connection, a channel through a hop, or what
// DialContext returns.
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
		a.d.debug("connecting through a proxy or a command", a.host, "address", a.host.address())
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
		if _, err := netip.ParseAddr(a.host.Host); err != nil {
			a.d.debug("resolving", a.host, "name", a.host.Host)
		}
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
	a.traceAddresses(a.addrs)
	conn, err := transport.Race(ctx, from, a.addrs)
	if err == nil && a.d.traces() {
		a.d.debug("connected to the port", a.host, "address", conn.RemoteAddr().String())
	}
	return conn, err
}

// resolve returns the addresses of a host. At most maxLookups look-ups run at once, because each
// opens its own sockets.
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

// withoutName drops the name from a look-up error: the message of the public error has it already.
func withoutName(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return &lookupError{dns}
	}
	return err
}

// lookupError is a net.DNSError whose text does not contain the name.
type lookupError struct{ err *net.DNSError }

func (e *lookupError) Error() string { return e.err.Err }
func (e *lookupError) Unwrap() error { return e.err }

// firstByteTimeout is how long a proxy command may take to send its first byte if ConnectTimeout is
// not set: the user may be signing in with a browser.
const firstByteTimeout = 10 * time.Minute

// traced returns a context with a trace for a proxy command. The trace names the host, and adjusts
// the clock when the command starts, sends its first byte, or asks the user.
func (a *attempt) traced(ctx context.Context) context.Context {
	t := &transport.Trace{User: a.host.User, Host: a.host.Name, Asking: a.clock.Pause}
	if a.host.ExtendTimeout {
		t.Started = func() { a.clock.Restart(firstByteTimeout) }
		t.Heard = func() { a.clock.Restart(a.host.ConnectTimeout) }
	}
	return transport.WithTrace(ctx, t)
}

// transportFailure returns the failure for an error of a proxy or proxy command. It is a failure
// of the host if the proxy works but cannot reach the host, and of the proxy otherwise.
func (a *attempt) transportFailure(e *transport.Error) *Failure {
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok && e.Target {
		return a.host.failure(UnknownHost, phaseResolve, &lookupError{dns})
	}
	cause := &conn.Error{Text: sanitize.Line(e.Err.Error()), Err: e}
	if e.Target {
		return a.host.failure(NotConnected, phaseConnect, cause)
	}
	f := a.host.failure(HopFailed, phaseProxy, &Failure{Kind: NotConnected, Host: e.Proxy, Phase: phaseConnect, Err: cause})
	f.Hop, f.Retryable = e.Proxy, true
	return f
}
