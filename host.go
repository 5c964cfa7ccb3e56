package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"fleetssh/internal/account"
	"fleetssh/internal/algorithms"
)

// HostConfig says where a host is and how to log in to it.
//
// Only Host must be set; the zero value of every other field works. There is no
// inheritance: a HostConfig is complete. To give one host settings of its own,
// copy a HostConfig and change the copy. Printing one shows no secret: with any
// verb of fmt (but %p and %w, which are for pointers and errors), as
// JSON, and with slog.
type HostConfig struct {
	// Host is the name or address to connect to.
	Host string

	// Alias, if set, stands for Host in output and in errors.
	Alias string

	// Port is the TCP port. Zero means 22.
	Port int

	// User is the login name. Empty means the current user.
	User string

	// Auth holds the credentials to offer.
	Auth Auth

	// HostKeys decides whether to trust the server's key. If nil, the key must
	// be in the user's or the system's known_hosts file. See [KnownHosts] and
	// [InsecureIgnoreHostKeys].
	HostKeys HostKeyPolicy `json:"-"`

	// RevokedHostKeys are files of keys that no host may have, as RevokedHostKeys of
	// ssh_config(5): lists of public keys, and KRLs of ssh-keygen -k. They count
	// whatever HostKeys is, and are read once for all hosts of a client. If one cannot
	// be read, no key is accepted.
	RevokedHostKeys []string

	// KnownHostsCommand, if set, is a program, by its absolute path, and its arguments
	// that lists keys of the host beside the files of HostKeys, in their format, as
	// KnownHostsCommand of ssh_config(5). %f, %H, %I, %K, %t and %% in the words are
	// replaced. It is run while connecting, for at most ten seconds, by at most 32 hosts
	// at a time, and without a shell. If it fails, the host is not connected to. It
	// needs a policy of this package that goes by files.
	KnownHostsCommand []string `json:"-"` // the arguments may be secrets

	// CheckHostIP refuses a host also if its address is known by another key than it
	// shows, as CheckHostIP of ssh_config(5). A policy that adds hosts adds the address
	// too. It has no effect where the address is not known here: behind a Proxy and
	// with DialContext; nor with HostKeyAlias, and with certificates.
	CheckHostIP bool

	// Unusable, if not nil, says why the host, or the hop, is not to be connected to: its
	// outcome is NotStarted with a [*ConfigError] that holds this. A program that reads
	// configuration sets it for a host of which that cannot be honoured, so that the
	// others are worked on all the same.
	Unusable error `json:"-"`

	// HostKeyAlias, if set, is the name by which the host's key is known, whatever
	// its name and port are.
	HostKeyAlias string

	// Proxy is the host to connect through, a hop: as ssh's ProxyJump. It may
	// have a Proxy itself, and has a user, credentials, a check of its host key
	// and time-outs of its own. Hosts of one [ParallelClient] that point to the
	// same Proxy share a single connection to it. Names are resolved by the
	// hop, so AddressFamily does not matter for the host behind it.
	Proxy *HostConfig

	// DialContext, if set, makes the connection that SSH is spoken over, in
	// place of one of TCP. The arguments are those of [net.Dialer.DialContext]:
	// "tcp" and "host:port". It must return when ctx ends. See [DialProxy] and
	// [DialCommand]. It excludes Proxy.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`

	// ControlPath, if set, is the socket of an OpenSSH client that runs as
	// master (ssh -M): if it is alive, its connection is used, and what is said
	// here about logging in, host keys and time-outs of connecting does not
	// matter. Otherwise the host is connected to as if ControlPath were empty.
	// A leading "~/" is the home directory; the tokens of ssh_config(5) for
	// ControlPath are replaced: %%, %C, %h, %i, %j, %k, %L, %l, %n, %p, %r, %u
	// and %d.
	ControlPath string

	// ForwardAgent lets commands on the host use the local SSH agent for as long
	// as the connection lasts. Whoever is root on the host can use it too. Over the connection of a master
	// (ControlPath) it is the agent of the master, if that forwards one. Where there is no
	// agent, commands run without it, as with ssh, and the log says so.
	ForwardAgent bool

	// SendEnv is sent to the host before each command, shell and subsystem, with the
	// protocol, as SetEnv and SendEnv of ssh_config(5) are: at most 128 variables, of
	// 2 MiB. The host takes those that its AcceptEnv names, which are few by default;
	// nobody tells which. TERM is also what terminals are asked for as. [Command] Env
	// works on every host. It is not printed.
	SendEnv map[string]string `json:"-"`

	// AddressFamily restricts the addresses of Host: "ip", "ip4" or "ip6".
	// Empty means "ip".
	AddressFamily string

	// BindAddress, if set, is the address of this machine, or the network interface, to
	// connect from: as BindAddress and BindInterface of ssh_config(5). It has no effect
	// with Proxy and DialContext.
	BindAddress string

	// Algorithms replaces the lists of algorithms to offer; nil means the
	// secure ones, strongest and fastest first.
	Algorithms *Algorithms

	// ConnectTimeout bounds each attempt to connect and log in, all phases
	// together, and each opening of a session and start of a command. Zero
	// means 30 seconds.
	ConnectTimeout time.Duration

	// Attempts is how many times to try to connect. Zero means 3.
	// A refused login, a bad key file, a wrong host key and a name that does
	// not exist are not tried again.
	Attempts int

	// RetryDelay is the pause between attempts, a negative value none. Zero means 5
	// seconds; 0.2 after a connection that was refused, and twice that each time more,
	// because a service that is being restarted listens again soon; and 20 after sshd has
	// said that it lets nobody in from here for a while (PerSourcePenalties).
	RetryDelay time.Duration

	// KeepAlive is how often a connection is probed. A host that leaves a probe
	// unanswered for three times as long, or twelve times while it sends a little,
	// counts as dead; one whose line carries a kilobyte a second, in either
	// direction, does not. Zero means one minute, a negative value never.
	//
	// Whatever it is, a connection on which the host takes nothing of what is
	// written is given up: after ConnectTimeout, but ten seconds at least and
	// thirty at most.
	KeepAlive time.Duration
}

// Hosts returns a copy of base for each name, with Host set to that name.
func Hosts(base HostConfig, names ...string) []HostConfig {
	hosts := make([]HostConfig, len(names))
	for i, name := range names {
		hosts[i] = base
		hosts[i].Host = name
	}
	return hosts
}

// ParseHost reads "[user@]host[:port]". An IPv6 address with a port needs
// brackets; the user name may itself hold an "@". A name may hold a "/", which is for hosts
// that a command leads to: "vsock/3".
func ParseHost(s string) (HostConfig, error) {
	var h HostConfig
	rest := s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		h.User, rest = s[:i], s[i+1:]
		if h.User == "" {
			return HostConfig{}, fmt.Errorf("host %q: the user before %q is empty", s, "@")
		}
	}
	host, port, hasPort := rest, "", false
	switch {
	case strings.HasPrefix(rest, "["):
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return HostConfig{}, fmt.Errorf("host %q: missing %q", s, "]")
		}
		host = rest[1:end]
		if rest = rest[end+1:]; rest != "" {
			if rest[0] != ':' {
				return HostConfig{}, fmt.Errorf("host %q: %q after the brackets", s, rest)
			}
			port, hasPort = rest[1:], true
		}
	case strings.Count(rest, ":") == 1:
		host, port, hasPort = strings.Cut(rest, ":")
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return HostConfig{}, fmt.Errorf("host %q: port %q is not a number from 1 to 65535", s, port)
		}
		h.Port = int(n)
	}
	h.Host = host
	if err := checkName(withoutSlashes(host)); err != nil {
		return HostConfig{}, fmt.Errorf("host %q: %w", s, err)
	}
	return h, nil
}

// withoutSlashes is for names of hosts that a command leads to.
func withoutSlashes(name string) string { return strings.ReplaceAll(name, "/", "_") }

// checkName refuses what can be no host name, and what could pass for an option
// or a line of a file.
func checkName(host string) error {
	switch {
	case host == "":
		return errors.New("the host name is empty")
	case len(host) > 1024:
		return errors.New("the host name is longer than 1024 bytes")
	case host[0] == '-':
		return errors.New(`the host name begins with "-"`)
	case strings.ContainsFunc(host, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return errors.New("the host name holds white space or control characters")
	case strings.ContainsAny(host, ",/\\[]@"):
		return errors.New(`the host name holds one of "," "/" "\" "[" "]" "@"`)
	}
	if i := strings.IndexAny(host, "{}=;<>\"'`$&|()!?*#^"); i >= 0 {
		return fmt.Errorf("the host name holds %q", host[i:i+1])
	}
	if strings.Contains(host, ":") {
		if _, err := netip.ParseAddr(host); err != nil {
			return errors.New("the host name holds a colon and is no IPv6 address")
		}
	}
	return nil
}

// String returns the alias, or else "user@host:port" without the defaults.
func (h HostConfig) String() string {
	if h.Alias != "" {
		return h.Alias
	}
	s := h.Host
	if h.Port != 0 && h.Port != defaultPort {
		s = net.JoinHostPort(h.Host, strconv.Itoa(h.Port))
	}
	if h.User != "" {
		s = h.User + "@" + s
	}
	return s
}

// GoString names the host and the login methods, and no secret.
func (h HostConfig) GoString() string {
	return fmt.Sprintf("fleetssh.HostConfig{%s, %s}", h.String(), h.Auth.String())
}

// Format implements [fmt.Formatter], so that no verb shows a secret.
func (h HostConfig) Format(f fmt.State, verb rune) {
	formatSafe(f, verb, h.String(), h.GoString())
}

// LogValue implements [slog.LogValuer] and logs no secret.
func (h HostConfig) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("host", h.name()),
		slog.Int("port", h.port()),
		slog.String("user", h.User),
		slog.String("auth", h.Auth.String()),
	}
	if h.Proxy != nil {
		attrs = append(attrs, slog.String("proxy", h.Proxy.String()))
	}
	return slog.GroupValue(attrs...)
}

// Algorithms are the names to offer, most wanted first. An empty list means the
// default for that kind. Names known to be weak are offered only if named here.
type Algorithms struct {
	KeyExchanges, Ciphers, MACs, HostKeys []string

	// MoreHostKeys and NoHostKeys add to the default for HostKeys, and take from it.
	// Unlike with HostKeys, algorithms of keys that are known for a host still come
	// first.
	MoreHostKeys, NoHostKeys []string

	// UserKeys are the algorithms that keys may log in with, as
	// PubkeyAcceptedAlgorithms of ssh_config(5): a key or certificate with none of them
	// is not offered. Their order does not matter.
	UserKeys []string

	// CASignatures are the algorithms by which the certificate of a host may be signed,
	// as CASignatureAlgorithms of ssh_config(5). A certificate that is signed in another
	// way counts for the key in it only. SHA-1 counts never.
	CASignatures []string

	// MinRSABits is how long RSA keys must be, as RequiredRSASize of ssh_config(5): a
	// host that shows a shorter one is refused, a certificate signed by one counts for
	// the key in it only, and one to log in with is not offered. Zero means what
	// crypto/rsa takes, which is 1024.
	MinRSABits int
}

const (
	defaultPort           = 22
	defaultConnectTimeout = 30 * time.Second
	defaultAttempts       = 3
	defaultRetryDelay     = 5 * time.Second
	defaultKeepAlive      = time.Minute

	// maxHops is how many hops may stand before a host.
	maxHops = 16
)

// name is what output and errors call the host.
func (h *HostConfig) name() string {
	if h.Alias != "" {
		return h.Alias
	}
	return h.Host
}

// keyName returns the name and port by which the host's key is known.
func (h *HostConfig) keyName() (string, int) {
	if h.HostKeyAlias != "" {
		return h.HostKeyAlias, defaultPort
	}
	return h.Host, h.port()
}

// algorithms returns what is offered to the host; nil is the default.
func (h *HostConfig) algorithms() *algorithms.Choice { return (*algorithms.Choice)(h.Algorithms) }

func (h *HostConfig) port() int {
	if h.Port == 0 {
		return defaultPort
	}
	return h.Port
}

func (h *HostConfig) connectTimeout() time.Duration {
	if h.ConnectTimeout == 0 {
		return defaultConnectTimeout
	}
	return h.ConnectTimeout
}

func (h *HostConfig) attempts() int {
	if h.Attempts == 0 {
		return defaultAttempts
	}
	return h.Attempts
}

func (h *HostConfig) retryDelay() time.Duration {
	if h.RetryDelay == 0 {
		return defaultRetryDelay
	}
	return max(h.RetryDelay, 0)
}

func (h *HostConfig) keepAlive() time.Duration {
	if h.KeepAlive == 0 {
		return defaultKeepAlive
	}
	return max(h.KeepAlive, 0)
}

// login returns the name to log in as.
func (h *HostConfig) login() (string, error) {
	if h.User != "" {
		return h.User, nil
	}
	return account.Name()
}

// unusable returns the error of a host that is not to be connected to, or of a hop in
// front of it; nil if there is none.
func (h *HostConfig) unusable() error {
	field := "HostConfig."
	for hop, n := h, 0; hop != nil && n <= maxHops; hop, n = hop.Proxy, n+1 {
		if hop.Unusable != nil {
			return &ConfigError{Index: -1, Field: field + "Unusable", Reason: hop.Unusable.Error(), Err: hop.Unusable}
		}
		field += "Proxy."
	}
	return nil
}

// check returns a *ConfigError for the first setting that cannot be used, of the
// host or of a hop on the way to it; index says which host it is.
func (h *HostConfig) check(index int) error {
	field := "HostConfig."
	for hop, n := h, 0; hop != nil; hop, n = hop.Proxy, n+1 {
		if n > maxHops {
			return &ConfigError{Index: index, Field: "HostConfig.Proxy", Reason: fmt.Sprintf("more than %d hops, or one that leads to itself", maxHops)}
		}
		if name, reason := hop.fault(); reason != "" {
			return &ConfigError{Index: index, Field: field + name, Reason: reason}
		}
		if files, ok := hop.HostKeys.(*KnownHosts); ok && hop.Unusable == nil {
			if err := files.Load(); err != nil {
				return &ConfigError{Index: index, Field: field + "HostKeys", Reason: err.Error(), Err: err}
			}
		}
		field += "Proxy."
	}
	return nil
}

// fault names the first setting that cannot be used, and says why.
func (h *HostConfig) fault() (field, reason string) {
	if h.Unusable != nil {
		return "", "" // nothing else of it is looked at
	}
	if err := checkName(withoutSlashes(h.Host)); err != nil {
		return "Host", fmt.Sprintf("%q: %v", h.Host, err)
	}
	if strings.Contains(h.Host, "/") && (h.DialContext == nil || h.Proxy != nil) {
		return "Host", fmt.Sprintf(`%q: a name with a "/" is for a command that leads there (ProxyCommand), and there is none`, h.Host)
	}
	if h.HostKeyAlias != "" {
		if err := checkName(h.HostKeyAlias); err != nil {
			return "HostKeyAlias", fmt.Sprintf("%q: %v", h.HostKeyAlias, err)
		}
	}
	if h.Port < 0 || h.Port > 65535 {
		return "Port", fmt.Sprintf("%d is not a port", h.Port)
	}
	switch h.AddressFamily {
	case "", "ip", "ip4", "ip6":
	default:
		return "AddressFamily", fmt.Sprintf(`%q is none of "ip", "ip4" and "ip6"`, h.AddressFamily)
	}
	if h.ConnectTimeout < 0 {
		return "ConnectTimeout", fmt.Sprintf("%v is negative", h.ConnectTimeout)
	}
	if h.Attempts < 0 {
		return "Attempts", fmt.Sprintf("%d is negative", h.Attempts)
	}
	if strings.ContainsRune(h.User, 0) {
		return "User", fmt.Sprintf("%q holds a NUL", h.User)
	}
	if kind, name, ok := h.algorithms().Unknown(); ok {
		return "Algorithms." + kind, fmt.Sprintf("%q is not supported", name)
	}
	if h.Algorithms != nil && h.Algorithms.MinRSABits < 0 {
		return "Algorithms.MinRSABits", fmt.Sprintf("%d is negative", h.Algorithms.MinRSABits)
	}
	if reason := h.commandFault(); reason != "" {
		return "KnownHostsCommand", reason
	}
	if reason := envFault(h.SendEnv); reason != "" {
		return "SendEnv", reason
	}
	if h.Proxy != nil && h.DialContext != nil {
		return "DialContext", "it cannot be used together with Proxy"
	}
	if _, err := h.controlSockets(); err != nil {
		return "ControlPath", err.Error()
	}
	return h.Auth.GSSAPI.fault()
}

// formatSafe prints one of two texts that hold no secret, whatever the verb.
func formatSafe(f fmt.State, verb rune, text, goText string) {
	switch {
	case verb == 'v' && f.Flag('#'):
		fmt.Fprint(f, goText)
	case verb == 'q':
		fmt.Fprintf(f, "%q", text)
	default:
		fmt.Fprintf(f, fmt.FormatString(f, 's'), text)
	}
}
