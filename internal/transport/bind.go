package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// LocalAddrs returns the local addresses for a BindAddress, which is an address, a name, or a
// network interface of this machine. It returns nil if name is empty: the system chooses.
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
		return nil, fmt.Errorf("BindAddress: neither a network interface nor an address: %w", err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("BindAddress %s: it has no address", name)
	}
	return addrs, nil
}

// connectFrom connects from the first local address in the address family of to. If from is empty,
// the system chooses the local address.
func connectFrom(ctx context.Context, from []netip.Addr, to netip.AddrPort) (net.Conn, error) {
	// The keep-alives of SSH detect dead peers. TCP keep-alives would cost three more system
	// calls for each connection.
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
