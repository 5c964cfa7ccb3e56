package fleetssh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"fleetssh/internal/sanitize"
	"fleetssh/internal/socks"
)

// ForwardProxy listens on a local address and serves a proxy that leads to all hosts: a
// connection to a host's name and a port goes over the connection of that host to
// localhost and that port there. So http://web07:9100/ reaches what listens on port 9100 of web07,
// for everybody on this machine who may use the proxy; see [Tunnel] for where it can listen.
//
// It speaks SOCKS 5, 4 and 4a without a login, and is an HTTP proxy, for CONNECT and for URLs of
// http. A host's name is its Alias, or if no host has such an alias its Host, in
// capitals or not. Where several entries of Hosts share a name, number 3 of them all is "3.web1", which works
// for every host. Other names are not connected to, nowhere: SOCKS answers 2 (not allowed), HTTP 502 and
// a text. A host that cannot be reached is 4 and 502, a refused connection 5 and 502, a host that
// does not answer in time 6 and 504.
//
// ForwardProxy connects to all hosts first; the error is as for ForwardLocal, and the
// tunnel is nil only when it is no [*HostsError]. Connections that are lost are made
// anew when they are needed. The tunnel outlives ctx, which bounds the call.
func (p *ParallelClient) ForwardProxy(ctx context.Context, listen string) (*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	slots, err := p.begin(hopMemory)
	if err != nil {
		return nil, err
	}
	web := newWebProxy(p.d.log, p.route)
	t, err := listenHere(ctx, p.d.log, at, func(t *Tunnel, caller callerConn) { serveProxy(t, caller, p.route, web) })
	if err != nil {
		return nil, err
	}
	web.run(t)
	if err := p.keep(t, nil); err != nil {
		return nil, err
	}
	return t, p.reachAll(ctx, slots)
}

// serveProxy tells by the first byte what a caller speaks.
func serveProxy(t *Tunnel, caller callerConn, way route, web *webProxy) {
	stop := context.AfterFunc(t.ctx, func() { caller.Close() })
	_ = caller.SetReadDeadline(time.Now().Add(helloTimeout)) // it is closed, at worst
	first := make([]byte, 1)
	_, err := caller.Read(first)
	_ = caller.SetReadDeadline(time.Time{})
	stop()
	conn := &proxyConn{callerConn: caller, ahead: first, ended: make(chan struct{})}
	switch {
	case err != nil:
		caller.Close()
	case first[0] == socks.Version4 || first[0] == socks.Version5:
		t.serveSOCKS(conn, way)
	default:
		web.serve(t, conn)
	}
}

// proxyConn is a connection of which something has been read already.
type proxyConn struct {
	callerConn
	ahead []byte

	endOnce sync.Once
	ended   chan struct{} // closed when nobody uses the connection any more
	taken   bool          // out of the hands of the HTTP server, by the handler
}

// Read implements [net.Conn].
func (c *proxyConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.callerConn.Read(p)
}

// SetLinger is that of TCP; see [reset].
func (c *proxyConn) SetLinger(seconds int) error {
	if tcp, ok := c.callerConn.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

func (c *proxyConn) end() { c.endOnce.Do(func() { close(c.ended) }) }

// maxNamed is how many hosts of one name an error lists.
const maxNamed = 4

// route finds the host that a name means.
func (p *ParallelClient) route(name string, port int) (opening, endpoint, error) {
	p.mu.Lock()
	slots := p.slots
	p.mu.Unlock()
	found := named(slots, name)
	if len(found) == 0 {
		if i, ok := numbered(slots, name); ok {
			found = []int{i}
		}
	}
	switch {
	case port == 0:
		return opening{}, endpoint{}, &routeError{"there is no port 0"}
	case len(found) == 0:
		return opening{}, endpoint{}, &routeError{fmt.Sprintf("%q is no host of this fleet", sanitize.Line(name))}
	case len(found) > 1:
		text := fmt.Sprintf("%q is the name of %d hosts; say", sanitize.Line(name), len(found))
		for _, i := range found[:min(len(found), maxNamed)] {
			text += fmt.Sprintf(" %d.%s (%s),", i, sanitize.Line(name), slots[i].host.String())
		}
		return opening{}, endpoint{}, &routeError{strings.TrimSuffix(text, ",")}
	}
	s := slots[found[0]]
	return opening{&s.host, s.reach(p.d).open}, endpoint{host: "localhost", port: port}, nil
}

// named returns the hosts of a name.
func named(slots []*slot, name string) []int {
	name = canonical(name)
	var byAlias, byHost []int
	for i, s := range slots {
		switch {
		case s.host.Alias != "" && canonical(s.host.Alias) == name:
			byAlias = append(byAlias, i)
		case canonical(s.host.Host) == name:
			byHost = append(byHost, i)
		}
	}
	if byAlias != nil {
		return byAlias
	}
	return byHost
}

// numbered returns the host that "3.web1" means.
func numbered(slots []*slot, name string) (int, bool) {
	number, rest, _ := strings.Cut(name, ".")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(slots) || strconv.Itoa(i) != number {
		return 0, false
	}
	h := &slots[i].host
	rest = canonical(rest)
	return i, rest != "" && (canonical(h.Alias) == rest || canonical(h.Host) == rest)
}

// canonical returns what two spellings of a name have in common.
func canonical(name string) string {
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
