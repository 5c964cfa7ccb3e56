package fleetssh

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"fleetssh/internal/deadline"
	"fleetssh/internal/transport"
)

// reach makes the connection that SSH is spoken over: of TCP, through a hop, or as
// the user wants it.
func (a *attempt) reach(ctx context.Context) (net.Conn, error) {
	switch {
	case a.host.Proxy != nil:
		conn, err := a.throughHop(ctx)
		if err != nil {
			return nil, err
		}
		return conn, nil
	case a.host.DialContext != nil:
		a.phases.enter("connect")
		conn, err := a.host.DialContext(a.traced(ctx), "tcp", hostPort(a.host.Host, a.host.port()))
		if err != nil {
			return nil, failureOf(err)
		}
		if conn == nil {
			return nil, errors.New("DialContext returned neither a connection nor an error")
		}
		return conn, nil
	}
	if a.addrs == nil {
		a.phases.enter("resolve")
		addrs, err := a.d.resolve(ctx, a.host)
		if err != nil {
			return nil, err
		}
		a.addrs = addrs
	}
	a.phases.enter("connect")
	from, err := transport.LocalAddrs(ctx, a.host.BindAddress)
	if err != nil {
		return nil, err
	}
	return transport.Race(ctx, from, a.addrs)
}

// resolve returns the addresses of a host. At most a limited number of look-ups
// run at once, because each takes sockets of its own.
func (d *dialer) resolve(ctx context.Context, host *HostConfig) ([]netip.AddrPort, error) {
	port := uint16(host.port())
	family := host.AddressFamily
	if family == "" {
		family = "ip"
	}
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

// withoutName drops the name from an error of a look-up, whose reader is told it.
func withoutName(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return &lookupError{dns}
	}
	return err
}

type lookupError struct{ err *net.DNSError }

func (e *lookupError) Error() string { return e.err.Err }
func (e *lookupError) Unwrap() error { return e.err }
