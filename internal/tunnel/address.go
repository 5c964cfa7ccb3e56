package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"fleetssh/internal/sanitize"
)

// Address is an address where a tunnel listens, or the address of its target: a TCP port, or the
// socket file at Path.
type Address struct {
	Host string // empty: listen on all addresses
	Port int
	Path string
}

// ParseListen parses an address to listen on: "PORT", "HOST:PORT" or the path of a socket. The
// default host is 127.0.0.1. The host "*" means all addresses. ParseListen does not check whether
// Host is a valid host name.
func ParseListen(text string) (Address, error) {
	a, err := parse(text)
	switch {
	case err != nil:
		return Address{}, err
	case a.Path != "":
	case a.Host == "":
		a.Host = "127.0.0.1"
	case a.Host == "*":
		a.Host = ""
	}
	return a, nil
}

// ParseTarget parses the address of a target, in the form of [ParseListen]. The default host is
// localhost.
func ParseTarget(text string) (Address, error) {
	a, err := parse(text)
	switch {
	case err != nil:
	case a.Path != "":
	case a.Port == 0:
		err = errors.New("the port is 0")
	case a.Host == "":
		a.Host = "localhost"
	case a.Host == "*":
		err = errors.New("\"*\" is an address to listen on, not a target")
	}
	if err != nil {
		return Address{}, err
	}
	return a, nil
}

// maxPath is above every system's limit for the path of a socket.
const maxPath = 1024

func parse(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok || strings.HasPrefix(text, "/") {
		switch {
		case path == "" || strings.ContainsRune(path, 0) || strings.HasPrefix(path, "@"):
			return Address{}, errors.New("it is not a path of a socket")
		case len(path) > maxPath:
			return Address{}, errors.New("the path is too long")
		}
		return Address{Path: path}, nil
	}
	host, port := "", text
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return Address{}, errors.New(`write PORT, HOST:PORT or the path of a socket; put an IPv6 address in brackets`)
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("port %q is not a number from 0 to 65535", sanitize.Line(port))
	}
	return Address{Host: host, Port: int(n)}, nil
}

// Network returns "tcp" or "unix".
func (a Address) Network() string {
	if a.Path != "" {
		return "unix"
	}
	return "tcp"
}

// String returns the address in the form of [net.Dial].
func (a Address) String() string {
	if a.Path != "" {
		return a.Path
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// Addr returns the address as a [net.Addr].
func (a Address) Addr() net.Addr {
	if a.Path != "" {
		return &net.UnixAddr{Name: a.Path, Net: "unix"}
	}
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(a.Port)))
	}
	if a.Host == "" {
		return &net.TCPAddr{Port: a.Port}
	}
	return hostAddr(a.String())
}

// Next returns the address where host number i listens if host 0 listens at a: the port is one
// higher for each host. It fails if there is no such port.
func (a Address) Next(i int) (Address, error) {
	switch {
	case i == 0:
	case a.Path != "":
		return a, errors.New("one socket cannot serve several hosts")
	case a.Port == 0:
	case a.Port+i > 65535:
		return a, fmt.Errorf("there is no port for host %d: each host gets the next port after %d", i, a.Port)
	default:
		a.Port += i
	}
	return a, nil
}

// hostAddr is an address whose host is a name that another machine resolves.
type hostAddr string

func (a hostAddr) Network() string { return "tcp" }
func (a hostAddr) String() string  { return string(a) }
