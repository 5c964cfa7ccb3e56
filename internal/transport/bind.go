package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// LocalAddrs returns the addresses to connect from for a setting BindAddress, which is an
// address or name of this machine, or one of its network interfaces. Nil means that the
// system chooses.
func LocalAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	if name == "" {
		return nil, nil
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	var addrs []netip.Addr
	if device, err := net.InterfaceByName(name); err == nil {
		networks, err := device.Addrs()
		if err != nil {
			return nil, fmt.Errorf("BindAddress %s: %w", name, err)
		}
		for _, n := range networks {
			if prefix, err := netip.ParsePrefix(n.String()); err == nil {
				addr := prefix.Addr().Unmap()
				if addr.Is6() && addr.IsLinkLocalUnicast() {
					addr = addr.WithZone(name)
				}
				addrs = append(addrs, addr)
			}
		}
	} else if addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", name); err != nil {
		return nil, fmt.Errorf("BindAddress: no network interface and no address: %w", err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("BindAddress %s: it has no address", name)
	}
	return addrs, nil
}

// connectFrom connects from the first of the addresses that is of the family of the other
// end, or, without any, from where the system chooses.
func connectFrom(ctx context.Context, from []netip.Addr, to netip.AddrPort) (net.Conn, error) {
	// Dead peers are found by keep-alives of SSH; keep-alives of TCP would cost three
	// system calls a connection.
	dialer := net.Dialer{KeepAlive: -1}
	for _, addr := range from {
		addr = addr.Unmap()
		linkLocal := addr.Is6() && addr.IsLinkLocalUnicast() && !to.Addr().IsLinkLocalUnicast()
		if addr.Is4() == to.Addr().Unmap().Is4() && !linkLocal {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
			break
		}
	}
	if len(from) > 0 && dialer.LocalAddr == nil {
		return nil, errors.New("BindAddress has no address of this family")
	}
	return dialer.DialContext(ctx, "tcp", to.String())
}
