package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Proxy returns a dial function that goes through the proxy at a URL:
//
//	socks5://[user:password@]host[:port]   SOCKS 5 (RFC 1928, 1929); this machine resolves the name
//	socks5h://[user:password@]host[:port]  SOCKS 5; the proxy resolves the name
//	http://[user:password@]host[:port]     HTTP CONNECT (RFC 9110, section 9.3.6); the proxy resolves
//	https://[user:password@]host[:port]    the same, over TLS with the system's root certificates
//	unix:///path                           a Unix socket that leads to the host; addr is ignored
//
// As with curl, the default port is 1080, and 443 for https. Special characters in user and
// password are written as %XX. With socks5, network selects the addresses of the host. They are
// tried one after another until the proxy can reach one. Names that the proxy resolves must be
// ASCII.
//
// The error for an invalid URL does not contain any part of the URL, which may have a password. The
// dial function returns an [*Error].
func Proxy(rawURL string) (DialFunc, error) {
	p, err := parseProxy(rawURL)
	if err != nil {
		return nil, fmt.Errorf("proxy URL: %w", err)
	}
	return p.dial, nil
}

// proxy is a parsed proxy URL.
type proxy struct {
	name    string // the name in errors
	scheme  string
	network string // "tcp" or "unix"
	addr    string
	tls     *tls.Config // for https
	login   *login      // nil: none
}

// login is the user name and password for a proxy.
type login struct{ user, password string }

// defaultPorts maps the schemes of proxies over TCP to their default ports.
var defaultPorts = map[string]string{"socks5": "1080", "socks5h": "1080", "http": "1080", "https": "443"}

func parseProxy(rawURL string) (*proxy, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error may contain any part of the URL.
		return nil, errors.New(`not a URL (in user and password, write special characters as %XX)`)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errors.New(`contains "?" or "#" (in user and password, write them as %3F and %23)`)
	}
	if u.Scheme == "unix" {
		if u.Host != "" || u.User != nil || len(u.Path) < 2 {
			return nil, errors.New("want unix:///path")
		}
		return &proxy{name: "unix://" + u.Path, scheme: u.Scheme, network: "unix", addr: u.Path}, nil
	}
	port, known := defaultPorts[u.Scheme]
	host := u.Hostname()
	switch {
	case !known:
		return nil, errors.New("the scheme must be socks5, socks5h, http, https or unix")
	case host == "":
		return nil, errors.New("there is no host")
	case u.Path != "" && u.Path != "/":
		return nil, errors.New(`there is a path after the host (in user and password, write "/" as %2F)`)
	}
	if u.Port() != "" {
		port = u.Port()
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("the port is not a number from 1 to 65535")
		}
	}
	addr := net.JoinHostPort(host, port)
	p := &proxy{name: u.Scheme + "://" + addr, scheme: u.Scheme, network: "tcp", addr: addr}
	if u.Scheme == "https" {
		p.tls = &tls.Config{ServerName: host, NextProtos: []string{"http/1.1"}}
	}
	if u.User != nil {
		p.login = &login{user: u.User.Username()}
		p.login.password, _ = u.User.Password()
		return p, p.login.check(u.Scheme)
	}
	return p, nil
}

// check returns an error if the login cannot be sent to the proxy.
func (l *login) check(scheme string) error {
	switch {
	case l.user == "":
		return errors.New("the user is empty")
	case len(l.user) > 255 || len(l.password) > 255:
		return errors.New("user or password is longer than 255 bytes") // RFC 1929, section 2
	case strings.HasPrefix(scheme, "http") && strings.Contains(l.user, ":"):
		return errors.New("the user contains a colon") // RFC 7617, section 2
	}
	return nil
}

// dial is the [DialFunc].
func (p *proxy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	targets, err := p.targets(ctx, network, addr)
	for _, t := range targets {
		var conn net.Conn
		if conn, err = p.through(ctx, t); err == nil {
			return conn, nil
		}
		if _, next := err.(errTarget); !next {
			break
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, newError(p.name, addr, err)
}

// target is the address that the proxy connects to. Either addr is valid or name is set.
type target struct {
	name string
	addr netip.Addr
	port uint16
}

// String returns "host:port", with brackets around an IPv6 address.
func (t target) String() string {
	host := t.name
	if t.addr.IsValid() {
		host = t.addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(t.port)))
}

// targetLimit limits how many addresses of a host are tried.
const targetLimit = 8

// targets returns the targets to try in order. If there is no error, there is at least one.
func (p *proxy) targets(ctx context.Context, network, addr string) ([]target, error) {
	if p.network == "unix" {
		return []target{{}}, nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errArgument{err}
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, errArgument{errors.New("the port is not a number from 1 to 65535")}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return nil, errArgument{errors.New("the address has a zone, which cannot be sent to a proxy")}
		}
		return []target{{addr: ip.Unmap(), port: uint16(port)}}, nil
	}
	if p.scheme != "socks5" {
		if len(host) > 255 || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errArgument{errors.New("a proxy accepts only names of at most 255 visible ASCII characters")}
		}
		return []target{{name: host, port: uint16(port)}}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+strings.TrimPrefix(network, "tcp"), host)
	if err != nil {
		return nil, errTarget{err}
	}
	if len(ips) == 0 {
		return nil, errTarget{errors.New("the name has no address")}
	}
	var targets []target
	for _, ip := range ips[:min(len(ips), targetLimit)] {
		targets = append(targets, target{addr: ip.Unmap().WithZone(""), port: uint16(port)})
	}
	return targets, nil
}

// through connects to the proxy and asks it to connect to t. It fails when ctx ends.
func (p *proxy) through(ctx context.Context, t target) (net.Conn, error) {
	// The keep-alives of SSH detect dead peers: see connectFrom.
	dialer := net.Dialer{KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, p.network, p.addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	through, err := p.handshake(conn, t)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return through, nil
}

// handshake asks the proxy at the other end of conn for a connection to t. It ends when conn is
// closed. It returns conn or a wrapper of it.
func (p *proxy) handshake(conn net.Conn, t target) (net.Conn, error) {
	switch p.scheme {
	case "unix":
		return conn, nil
	case "socks5", "socks5h":
		return conn, socksConnect(conn, p.login, t)
	case "https":
		conn = tls.Client(conn, p.tls)
	}
	return httpConnect(conn, p.login, t)
}
