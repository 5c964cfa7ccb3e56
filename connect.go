package fleetssh

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// connectStagger is how long one address may take before the next is tried
// beside it (RFC 8305, section 5).
const connectStagger = 250 * time.Millisecond

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
			return nil, err
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
	from, err := a.host.bindTo(ctx)
	if err != nil {
		return nil, err
	}
	return connectFrom(ctx, from, a.addrs)
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
		return nil, causeOf(ctx)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, family, host.Host)
	if err != nil {
		return nil, err
	}
	return interleave(addrs, port), nil
}

// interleave alternates between the two families, beginning with that of the
// first address (RFC 8305, section 4).
func interleave(addrs []netip.Addr, port uint16) []netip.AddrPort {
	var first, second []netip.AddrPort
	for _, addr := range addrs {
		addr = addr.Unmap()
		ap := netip.AddrPortFrom(addr, port)
		if len(first) == 0 || first[0].Addr().Is4() == addr.Is4() {
			first = append(first, ap)
		} else {
			second = append(second, ap)
		}
	}
	mixed := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}

// connectAny connects to the first of the addresses that answers. It begins with
// the next one when one has failed or has not answered for a quarter of a second.
func connectAny(ctx context.Context, addrs []netip.AddrPort) (net.Conn, error) {
	return connectFrom(ctx, nil, addrs)
}

// connectFrom is connectAny from one of the addresses of this machine; see dialFrom.
func connectFrom(ctx context.Context, from []netip.Addr, addrs []netip.AddrPort) (net.Conn, error) {
	if len(addrs) == 1 {
		return dialFrom(ctx, from, addrs[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		addr string
		err  error
	}
	results := make(chan result, len(addrs))
	running := 0
	defer func() {
		cancel() // the attempts that lost
		for ; running > 0; running-- {
			if r := <-results; r.conn != nil {
				r.conn.Close()
			}
		}
	}()
	var errs []error
	for next := 0; next < len(addrs) || running > 0; {
		var stagger <-chan time.Time
		if next < len(addrs) {
			to := addrs[next]
			next++
			running++
			go func() {
				conn, err := dialFrom(ctx, from, to)
				results <- result{conn, to.String(), err}
			}()
			stagger = time.After(connectStagger)
		}
		if next == len(addrs) {
			stagger = nil
		}
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			errs = append(errs, &addressError{r.addr, withoutAddress(r.err)})
		case <-stagger:
		}
	}
	if len(errs) == 0 {
		return nil, errors.New("the name has no address")
	}
	return nil, joinErrors(errs)
}

// addressError is what went wrong with one of several addresses.
type addressError struct {
	addr string
	err  error
}

func (e *addressError) Error() string { return e.addr + ": " + e.err.Error() }
func (e *addressError) Unwrap() error { return e.err }
