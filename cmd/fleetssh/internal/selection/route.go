package selection

import (
	"context"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
)

// routeFlags are the flags for hops, proxies, OpenSSH masters and Kerberos.
type routeFlags struct {
	jump         string
	proxy        string
	proxyCommand string
	controlPath  string
	forwardAgent bool

	gssapi, delegate bool
	principal        string
	serviceHost      string
	keytab           string
	kinit            bool
}

const routeFlagsHelp = `Connection routing:
  -J, --jump HOP[,HOP...]   connect through these hosts, in this order; a hop is
                            [user@]host[:port]; -l, -p, --ask-pass and -A do not
                            apply to hops, timeouts do, and the key of -i is
                            offered to them besides their own
      --proxy URL           through a proxy: socks5://[user:password@]host:port,
                            socks5h:// (the proxy looks up names), http://,
                            https://, or a socket: unix:///path
      --proxy-command LINE  over the standard input and output of a command;
                            %h is the host, %p its port, %r the user; on Linux
                            it may ask on the terminal
      --control-path PATH   over the connection of an OpenSSH master (ssh -M), if
                            one listens on the socket; %C, %h, %p, %r as in ssh
  -A, --forward-agent       let commands use your SSH agent; so can root there

Kerberos (gssapi-with-mic; any of these turns it on):
      --gssapi              log in with the tickets of kinit, before other methods
  -K, --delegate            the same, and forward the tickets to the hosts
      --principal NAME      log in as this principal: alice, or alice@REALM
      --service-host NAME   the service principal of the hosts is host/NAME
      --keytab FILE         get a ticket with the keys in a file
      --kinit               ask for the Kerberos password of --principal and get a
                            ticket for this run only
`

func (f *routeFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.jump, "jump", "J", "", "")
	flags.StringVar(&f.proxy, "proxy", "", "")
	flags.StringVar(&f.proxyCommand, "proxy-command", "", "")
	flags.StringVar(&f.controlPath, "control-path", "", "")
	flags.BoolVarP(&f.forwardAgent, "forward-agent", "A", false, "")
	flags.BoolVar(&f.gssapi, "gssapi", false, "")
	flags.BoolVarP(&f.delegate, "delegate", "K", false, "")
	flags.StringVar(&f.principal, "principal", "", "")
	flags.StringVar(&f.serviceHost, "service-host", "", "")
	flags.StringVar(&f.keytab, "keytab", "", "")
	flags.BoolVar(&f.kinit, "kinit", false, "")
}

// check refuses flags that exclude each other.
func (f *routeFlags) check() error {
	switch {
	case f.proxy != "" && f.proxyCommand != "":
		return exit.UsageError("", "--proxy and --proxy-command exclude each other")
	case f.jump != "" && f.jump != "none":
		for text := range strings.SplitSeq(f.jump, ",") {
			if _, err := fleetssh.ParseHost(strings.TrimSpace(text)); err != nil {
				return exit.UsageError("name hops as [user@]host[:port]", "-J: %v", err)
			}
		}
	}
	switch {
	case f.kinit && f.principal == "":
		return exit.UsageError("add --principal NAME", "--kinit needs --principal")
	case f.kinit && f.keytab != "":
		return exit.UsageError("", "--kinit and --keytab exclude each other")
	}
	return nil
}

// transport returns the dial function for --proxy or --proxy-command, nil if neither is given.
func (f *routeFlags) transport(terminal func(context.Context, string) (*os.File, func(os.Signal), error)) (func(context.Context, string, string) (net.Conn, error), error) {
	switch {
	case f.proxy != "":
		dial, err := fleetssh.DialProxy(f.proxy)
		if err != nil {
			return nil, exit.UsageError("", "--proxy: %v", err)
		}
		return dial, nil
	case f.proxyCommand != "":
		dial, err := fleetssh.DialProxyCommand(fleetssh.ProxyCommand{Line: f.proxyCommand, Terminal: terminal})
		if err != nil {
			return nil, exit.UsageError("", "--proxy-command: %v", err)
		}
		return dial, nil
	}
	return nil, nil
}

// kerberos returns the settings for a login with tickets, nil if no flag asks for it.
func (f *routeFlags) kerberos(ctx context.Context, env *Env, nothingAsked bool) (*fleetssh.GSSAPI, error) {
	if !f.gssapi && !f.delegate && f.principal == "" && f.serviceHost == "" && f.keytab == "" && !f.kinit {
		return nil, nil
	}
	g := &fleetssh.GSSAPI{ServerIdentity: f.serviceHost, ClientIdentity: f.principal, Delegate: f.delegate, Keytab: f.keytab}
	switch {
	case f.kinit && nothingAsked:
		g.Password = dummySecret
	case f.kinit:
		secret, err := env.askSecret(ctx, "Kerberos password of "+f.principal+": ")
		if err != nil {
			return nil, err
		}
		g.Password = secret
	}
	return g, nil
}

// hopTickets returns the Kerberos settings for hops.
func hopTickets(tickets *fleetssh.GSSAPI) *fleetssh.GSSAPI {
	if tickets == nil {
		return nil
	}
	g := *tickets
	g.Delegate, g.ServerIdentity = false, ""
	return &g
}
