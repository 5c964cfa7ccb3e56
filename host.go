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
// Only Host must be set; the zero value of every other field works. Nothing is inherited: a
// HostConfig is complete. To give one host settings of its own, copy a HostConfig and change
// the copy. Printing one shows no secret: with slog, as JSON, and with every verb of fmt except
// %p and %w, which are for pointers and errors.
type HostConfig struct {
	// Host is the name or address to connect to.
	Host string

	// Alias, if set, replaces Host in output and in errors.
	Alias string

	// Port is the TCP port. Zero means 22.
	Port int

	// User is the login name. Empty means the current user.
	User string

	// Auth holds the credentials to offer.
	Auth Auth

	// HostKeys decides whether to trust the server's key. If nil, the key must
	// be in the user's or the system's known_hosts file, unless ConfirmHostKey
	// trusts it. See [KnownHosts] and [InsecureIgnoreHostKeys].
	HostKeys HostKeyPolicy `json:"-"`

	// ConfirmHostKey, if set, decides whether to trust a host that HostKeys does not know, if that is
	// nil or a [KnownHosts] with AskUnknown. It may ask a user, and take as long as it likes: no
	// connection to the host is open meanwhile, time-outs and Attempts do not count, and in a
	// [ParallelClient] the host takes none of PoolSize. When ctx ends, it must return. If it
	// returns true, the key is added to the known hosts, and the host is connected to again. Hosts
	// call it on goroutines of their own, many at once, each at most once while connecting.
	ConfirmHostKey func(ctx context.Context, key NewHostKey) bool `json:"-"`

	// RevokedHostKeys are files of keys that no host may have, as RevokedHostKeys of
	// ssh_config(5): lists of public keys, and KRLs of ssh-keygen -k. They apply whatever
	// HostKeys is, and are read once for all hosts of a client. If a file cannot be read, no
	// key is accepted.
	RevokedHostKeys []string

	// KnownHostsCommand, if set, is a program that lists keys of the host, as KnownHostsCommand
	// of ssh_config(5): its absolute path, and its arguments. It adds to the files of HostKeys,
	// and prints their format. %f, %H, %I, %K, %t and %% in the words are replaced. It is run
	// while connecting, without a shell, for at most ten seconds, by at most 32 hosts at a
	// time. If it fails, the host is not connected to. HostKeys must be a policy of this
	// package that uses files.
	KnownHostsCommand []string `json:"-"` // the arguments may be secrets

	// CheckHostIP also refuses a host whose address is known with another key than the host
	// shows, as CheckHostIP of ssh_config(5). A policy that adds hosts adds the address too. It
	// has no effect where the address is not known to the client (behind a Proxy and with
	// DialContext), with HostKeyAlias, and with certificates.
	CheckHostIP bool

	// Unusable, if not nil, is the reason not to connect to the host, or through the hop: the
	// outcome is NotStarted with a [*ConfigError] that holds this error. A program that reads
	// configuration sets it when it cannot honour the configuration of one host, so that the
	// work on the other hosts continues.
	Unusable error `json:"-"`

	// HostKeyAlias, if set, is the name under which the host's key is looked up, whatever the
	// host's name and port are.
	HostKeyAlias string

	// Proxy is the host to connect through, a hop, as ProxyJump of ssh_config(5). It may have a
	// Proxy itself, and has its own user, credentials, host key check and time-outs. Hosts of
	// one [ParallelClient] that point to the same Proxy share a single connection to it. The
	// hop resolves the name of the host behind it, so AddressFamily does not apply to that
	// host.
	Proxy *HostConfig

	// DialContext, if set, makes the connection that SSH uses, in place of a TCP connection.
	// Its arguments are as for [net.Dialer.DialContext]: "tcp" and "host:port". It must return
	// when ctx ends. See [DialProxy] and [DialCommand]. It cannot be combined with Proxy.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`

	// ControlPath, if set, is the socket of an OpenSSH client that runs as master (ssh -M). If
	// the master is alive, its connection is used; the settings for logging in, host keys and
	// connection time-outs then do not apply. Otherwise the host is connected to as if
	// ControlPath were empty. A leading "~/" is the home directory. The tokens of ssh_config(5)
	// for ControlPath are replaced: %%, %C, %h, %i, %j, %k, %L, %l, %n, %p, %r, %u and %d.
	ControlPath string

	// ForwardAgent lets commands on the host use the local SSH agent for as long as the
	// connection lasts. Root on the host can use it too. Over the connection of a master
	// (ControlPath) they use the agent that the master forwards, if it forwards one. Without a
	// local agent, commands run without one, as with ssh, and the log says so.
	ForwardAgent bool

	// SendEnv is the environment that is sent to the host with the protocol before each
	// command, shell and subsystem, as by SetEnv and SendEnv of ssh_config(5): at most 128
	// variables, of 2 MiB together. The host takes the variables that its AcceptEnv names, by
	// default only a few, and does not report which. TERM also sets the type of terminals.
	// [Command] Env works on every host. SendEnv is not printed.
	SendEnv map[string]string `json:"-"`

	// AddressFamily restricts the addresses of Host: "ip", "ip4" or "ip6".
	// Empty means "ip".
	AddressFamily string

	// BindAddress, if set, is the address of this machine, or the network interface, to connect
	// from, as BindAddress and BindInterface of ssh_config(5). It has no effect with Proxy and
	// DialContext.
	BindAddress string

	// Algorithms replaces the lists of algorithms to offer. Nil means the secure algorithms,
	// strongest and fastest first.
	Algorithms *Algorithms

	// ConnectTimeout bounds each attempt to connect and log in, all phases together. It also
	// bounds opening a session and starting a command. Zero means 30 seconds.
	ConnectTimeout time.Duration

	// Attempts is how many times to try to connect. Zero means 3. A refused login, a bad key
	// file, a wrong host key or a name that does not exist ends the attempts.
	Attempts int

	// RetryDelay is the pause between attempts. A negative value means none. Zero means 5
	// seconds, with two exceptions. After a refused connection the pause is 0.2 seconds, and
	// doubles each time, because a service that is being restarted soon listens again. It is 20
	// seconds after sshd has reported that it refuses this client for a while
	// (PerSourcePenalties).
	RetryDelay time.Duration

	// KeepAlive is how often a connection is probed. A host counts as dead if it leaves a probe
	// unanswered for three times KeepAlive, or for twelve times while it sends a little. A
	// connection that carries a kilobyte a second, in either direction, counts as alive. Zero
	// means one minute, a negative value never.
	//
	// Whatever KeepAlive is, a connection is closed if the host does not read what is written
	// to it: after ConnectTimeout, but after ten seconds at least and thirty at most.
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

// ParseHost parses "[user@]host[:port]". An IPv6 address with a port needs brackets; the user
// name may contain an "@". A host name may contain a "/" if a command makes the connection (see
// HostConfig.DialContext): "vsock/3".
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

// withoutSlashes prepares the name of a host for checkName: a name may contain slashes if a
// command makes the connection.
func withoutSlashes(name string) string { return strings.ReplaceAll(name, "/", "_") }

// checkName refuses names that cannot be host names, and names that could pass for an option or
// a line of a file.
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
			return errors.New("the host name holds a colon and is not an IPv6 address")
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

// GoString returns the host and the login methods, and no secret.
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

// Algorithms are the names of the algorithms to offer, most preferred first. An empty list
// means the default for that kind. Weak algorithms are offered only if named here.
type Algorithms struct {
	KeyExchanges, Ciphers, MACs, HostKeys []string

	// MoreHostKeys and NoHostKeys add to the default for HostKeys, and remove from it. Unlike
	// with HostKeys, the algorithms of keys that are known for a host still come first.
	MoreHostKeys, NoHostKeys []string

	// UserKeys are the algorithms of the keys that may be used to log in, as
	// PubkeyAcceptedAlgorithms of ssh_config(5): a key or certificate with none of them is not
	// offered. Their order does not matter.
	UserKeys []string

	// CASignatures are the algorithms by which the certificate of a host may be signed, as
	// CASignatureAlgorithms of ssh_config(5). If a certificate is signed in another way, only
	// the key in it counts. SHA-1 never counts.
	CASignatures []string

	// MinRSABits is the shortest length of RSA keys in bits, as RequiredRSASize of
	// ssh_config(5). A host that shows a shorter key is refused. If a shorter key has signed a
	// certificate, only the key in the certificate counts. A shorter key to log in with is not
	// offered. Zero means the minimum of crypto/rsa, which is 1024.
	MinRSABits int
}

const (
	defaultPort           = 22
	defaultConnectTimeout = 30 * time.Second
	defaultAttempts       = 3
	defaultRetryDelay     = 5 * time.Second
	defaultKeepAlive      = time.Minute

	// maxHops is the most hops that a host may have.
	maxHops = 16
)

// name returns the name of the host in output and errors.
func (h *HostConfig) name() string {
	if h.Alias != "" {
		return h.Alias
	}
	return h.Host
}

// keyName returns the name and port under which the host's key is looked up.
func (h *HostConfig) keyName() (string, int) {
	if h.HostKeyAlias != "" {
		return h.HostKeyAlias, defaultPort
	}
	return h.Host, h.port()
}

// algorithms returns the algorithms to offer to the host; nil is the default.
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

// unusable returns the error of the first of the host and its hops that has Unusable set, nil
// if none has.
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

// check returns a *ConfigError for the first setting that cannot be used, of the host or of its
// hops; index is the number of the host.
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

// fault returns the first setting that cannot be used, and the reason.
func (h *HostConfig) fault() (field, reason string) {
	if h.Unusable != nil {
		return "", "" // the other settings are not used
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
