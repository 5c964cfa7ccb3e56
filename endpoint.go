package fleetssh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"fleetssh/internal/sanitize"
)

// endpoint is where a tunnel listens, or where it leads to: a TCP port, or the
// socket file at path.
type endpoint struct {
	host string // empty when listening: on all addresses
	port int
	path string
}

// parseListen reads where to listen: see [Tunnel].
func parseListen(text string) (endpoint, error) {
	e, err := parseEndpoint(text)
	switch {
	case err != nil:
	case e.path != "":
	case e.host == "":
		e.host = "127.0.0.1"
	case e.host == "*":
		e.host = ""
	default:
		err = checkName(e.host)
	}
	if err != nil {
		return endpoint{}, &ConfigError{Host: -1, Field: "listen", Reason: fmt.Sprintf("%q: %v", sanitize.Line(text), err)}
	}
	return e, nil
}

// parseTarget reads where a tunnel leads to: see [Tunnel].
func parseTarget(text string) (endpoint, error) {
	e, err := parseEndpoint(text)
	switch {
	case err != nil:
	case e.path != "":
	case e.port == 0:
		err = errors.New("the port is 0")
	case e.host == "":
		e.host = "localhost"
	case e.host == "*":
		err = errors.New("that is where one may listen, and leads nowhere")
	default:
		err = checkName(e.host)
	}
	if err != nil {
		return endpoint{}, &ConfigError{Host: -1, Field: "target", Reason: fmt.Sprintf("%q: %v", sanitize.Line(text), err)}
	}
	return e, nil
}

// maxPath is longer than the path of a socket can be on any system.
const maxPath = 1024

func parseEndpoint(text string) (endpoint, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok || strings.HasPrefix(text, "/") {
		switch {
		case path == "" || strings.ContainsRune(path, 0) || strings.HasPrefix(path, "@"):
			return endpoint{}, errors.New("no path of a socket")
		case len(path) > maxPath:
			return endpoint{}, errors.New("the path is too long")
		}
		return endpoint{path: path}, nil
	}
	host, port := "", text
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return endpoint{}, errors.New(`write PORT, HOST:PORT or the path of a socket; an IPv6 address stands in "[" and "]"`)
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return endpoint{}, fmt.Errorf("the port %q is no number from 0 to 65535", sanitize.Line(port))
	}
	return endpoint{host: host, port: int(n)}, nil
}

// network returns "tcp" or "unix".
func (e endpoint) network() string {
	if e.path != "" {
		return "unix"
	}
	return "tcp"
}

// address returns what goes with the network.
func (e endpoint) address() string {
	if e.path != "" {
		return e.path
	}
	return net.JoinHostPort(e.host, strconv.Itoa(e.port))
}

// addr returns the endpoint as an address of the network.
func (e endpoint) addr() net.Addr {
	if e.path != "" {
		return &net.UnixAddr{Name: e.path, Net: "unix"}
	}
	if ip, err := netip.ParseAddr(e.host); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(e.port)))
	}
	return hostAddr(e.address())
}

// hostAddr is an address whose host is a name, or empty, that only another machine can look up.
type hostAddr string

func (a hostAddr) Network() string { return "tcp" }
func (a hostAddr) String() string  { return string(a) }
