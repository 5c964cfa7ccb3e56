package fleetssh

import (
	"context"
	"net"
	"os"

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
// The function may be used for many hosts and by many goroutines at once. A failure of the
// proxy is a [*ProxyError]. If the proxy reports that it cannot reach the host, the error is the
// host's: a [*ConnectionError] or [*UnknownHostError].
func DialProxy(url string) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	return transport.Proxy(url)
}

// DialCommand is [DialProxyCommand] with nothing but a line.
func DialCommand(line string) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	return DialProxyCommand(ProxyCommand{Line: line})
}

// ProxyCommand is a command whose standard input and output are the connection to a host, as
// ProxyCommand of ssh_config(5). Only Line must be set.
type ProxyCommand struct {
	// Line is run by the user's shell. %h, %p, %r, %n and %% in it are replaced by the host,
	// its port, the login name, the name of the host in output, and a percent sign. Values
	// that hold characters special to the shell are quoted; within quotes of the line, such
	// a value is an error.
	Line string

	// User and Alias, if set, replace %r and %n.
	User, Alias string

	// UseFdpass says that the command passes a connected descriptor on its standard output
	// and ends, instead of carrying the bytes (ProxyUseFdpass).
	UseFdpass bool

	// Terminal, if not nil, lends the terminal of the program to a command. It is called when
	// the command reads from the terminal or turns off its echo, for one command or question
	// at a time in the process. tty is the controlling terminal; the command is in the
	// foreground of it until it has sent its first byte or has ended. giveBack gets the signal
	// that ended the command, nil if none did. Linux only. If nil, and on other systems, the
	// command has no terminal.
	Terminal func(ctx context.Context, host string) (tty *os.File, giveBack func(os.Signal), err error) `json:"-"`
}

// DialProxyCommand returns a function for [HostConfig.DialContext] that runs a command.
// The function may be used for many hosts and by many goroutines at once. The command ends with
// the connection; if it fails, the error holds the end of its standard error. Unix only.
//
// A command may talk to people. If ConnectTimeout is zero, the host therefore has ten minutes to
// send its first byte, and the usual time from then on. If the command exits with a status other
// than 0 before that byte, there is no other attempt.
func DialProxyCommand(p ProxyCommand) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	program := transport.Program{Line: p.Line, User: p.User, Host: p.Alias, PassesDescriptor: p.UseFdpass}
	if p.Terminal != nil {
		program.Terminal = func(ctx context.Context, host string) (*os.File, func(os.Signal), error) {
			done, err := waitToAsk(ctx)
			if err != nil {
				return nil, nil, err
			}
			tty, giveBack, err := p.Terminal(ctx, host)
			if err != nil {
				done()
				return nil, nil, err
			}
			return tty, func(sig os.Signal) {
				giveBack(sig)
				done()
			}, nil
		}
	}
	return program.Dial()
}
