package fleetssh

import (
	"context"
	"errors"
	"net"

	"fleetssh/internal/transport"
)

// DialProxy returns a function for [HostConfig.DialContext] that connects through
// the proxy at a URL:
//
//	socks5://[user:password@]proxy[:1080]    SOCKS 5 (RFC 1928); names are looked up here
//	socks5h://[user:password@]proxy[:1080]   names are looked up by the proxy
//	http://[user:password@]proxy[:1080]      HTTP CONNECT (RFC 9110, section 9.3.6)
//	https://[user:password@]proxy[:443]      the same, with TLS to the proxy
//	unix:///path                             a socket on this machine that leads to the host
//
// The function may be used for many hosts and by many goroutines at once. What
// fails at the proxy is a [*ProxyError]; a host that the proxy says it cannot reach
// has a [*ConnectionError] or [*UnknownHostError] of its own.
func DialProxy(url string) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	return transport.Proxy(url)
}

// DialCommand returns a function for [HostConfig.DialContext] that runs a command
// whose standard input and output are the connection, as ssh's ProxyCommand: the
// user's shell runs it, and %h, %p and %% are replaced by the host, its port and a
// percent sign. A host name with a character that a shell might read is refused. The
// end of its standard error tells why it failed. The command ends with the
// connection. Unix only.
func DialCommand(line string) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	return transport.Command(line, transport.Names{})
}

// transportError returns the error for a connection that was not made, or not kept,
// by DialProxy or DialCommand: that of the proxy, or the host's own.
func (a *attempt) transportError(e *transport.Error) error {
	name, port := a.host.name(), a.host.port()
	if dns, ok := errors.AsType[*net.DNSError](e.Err); ok && e.Target {
		return &UnknownHostError{Host: name, Err: &lookupError{dns}}
	}
	why := &sshError{text: clip(e.Err.Error()), err: e}
	if e.Target {
		return &ConnectionError{Host: name, Port: port, Phase: "connect", Err: why}
	}
	return &ProxyError{Host: name, Hop: e.Proxy, Err: &ConnectionError{Host: e.Proxy, Phase: "connect", Err: why}}
}
