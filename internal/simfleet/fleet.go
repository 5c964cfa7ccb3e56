package simfleet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Fleet is a set of simulated hosts, each on its own loopback address, all on one port.
type Fleet struct {
	Servers []*Server
}

// maxFleet is the number of addresses from 127.1.0.1 to 127.254.255.254, without addresses that end
// in .0 or .255.
const maxFleet = 254 * 256 * 254

// StartFleet starts n hosts that serve until [Fleet.Close], at 127.1.0.1 and the addresses that
// follow, skipping addresses that end in .0 or .255. Port 0 means a free port. The hosts are called
// sim00001 and so on. StartFleet calls each on its own goroutine before it starts a host; each may
// change all fields except Addr. A nil each leaves their zero values.
//
// Each host takes one open file and one goroutine, and each connection one more open file.
func StartFleet(n, port int, each func(i int, h *Host)) (*Fleet, error) {
	if n < 0 || n > maxFleet {
		return nil, fmt.Errorf("start a fleet of %d hosts: at most %d", n, maxFleet)
	}
	var failed error
	// A port that is free at the first address may be in use at a later one.
	for range 5 {
		f, err := startFleet(n, port, each)
		if err == nil {
			return f, nil
		}
		failed = err
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, failed
}

func startFleet(n, port int, each func(i int, h *Host)) (*Fleet, error) {
	f := &Fleet{Servers: make([]*Server, 0, n)}
	for i := range n {
		h := Host{Name: fmt.Sprintf("sim%05d", i+1)}
		if each != nil {
			each(i, &h)
		}
		h.Addr = net.JoinHostPort(fleetAddr(i).String(), strconv.Itoa(port))
		s, err := Start(h)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.Servers = append(f.Servers, s)
		port = s.Port()
	}
	return f, nil
}

// fleetAddr returns the address of host i.
func fleetAddr(i int) netip.Addr {
	block, last := i/254, i%254+1
	return netip.AddrFrom4([4]byte{127, byte(1 + block/256), byte(block % 256), byte(last)})
}

// Port returns the port of all hosts, or 0 if there are none.
func (f *Fleet) Port() int {
	if len(f.Servers) == 0 {
		return 0
	}
	return f.Servers[0].Port()
}

// Hosts returns the addresses of the hosts, without the port, in order.
func (f *Fleet) Hosts() []string {
	hosts := make([]string, len(f.Servers))
	for i, s := range f.Servers {
		hosts[i] = s.Host()
	}
	return hosts
}

// Addrs returns the addresses of the hosts, with the port, in order.
func (f *Fleet) Addrs() []string {
	addrs := make([]string, len(f.Servers))
	for i, s := range f.Servers {
		addrs[i] = s.Addr()
	}
	return addrs
}

// KnownHosts returns the content of a known_hosts file with the keys of all hosts.
func (f *Fleet) KnownHosts() []byte {
	var lines strings.Builder
	for _, s := range f.Servers {
		lines.WriteString(s.KnownHostsLine())
	}
	return []byte(lines.String())
}

// Close closes all hosts in parallel and waits until their goroutines have ended. It may be called
// twice. It always returns nil.
func (f *Fleet) Close() error {
	var closing sync.WaitGroup
	for _, s := range f.Servers {
		closing.Go(func() { s.Close() })
	}
	closing.Wait()
	return nil
}
