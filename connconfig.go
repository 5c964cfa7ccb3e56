package fleetssh

import (
	"cmp"
	"context"
	"net"
	"os"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/dial"
	"fleetssh/internal/identity"
	"fleetssh/internal/keyfile"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/transport"
)

// config returns the complete configuration for connecting to a host. Only this function makes a
// [dial.Config]. The host must have been checked. A connection does not keep its Config.
func (d *dialer) config(h *HostConfig) *dial.Config {
	masters, _ := h.controlSockets() // check has reported this error
	c := &dial.Config{
		Host: h.Host, Port: h.port(), Name: h.name(),
		Describe: func() any { return *h },
		Proxy:    d.hopConfig(h.Proxy), AddressFamily: cmp.Or(h.AddressFamily, "ip"), BindAddress: h.BindAddress,
		Masters:        masters,
		ConnectTimeout: h.connectTimeout(), ExtendTimeout: h.ConnectTimeout == 0,
		Attempts: h.attempts(), RetryDelay: h.retryDelay(), FixedDelay: h.RetryDelay != 0,
		KeepAlive:   h.keepAlive(),
		AgentSocket: h.Auth.agentSocket(), ForwardAgent: h.ForwardAgent,
		Algorithms: h.algorithms(),
	}
	if h.DialContext != nil {
		c.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := h.DialContext(ctx, network, address)
			return conn, failureOf(err)
		}
	}
	var userErr, keysErr error
	c.User, userErr = h.login()
	c.HostKeys, keysErr = d.hostKeys(h)
	switch {
	case userErr != nil:
		c.Fault = &ConfigError{Index: -1, Field: "HostConfig.User", Reason: userErr.Error(), Err: userErr}
	case keysErr != nil:
		c.Fault = &dial.Failure{Kind: dial.BadHostKey, Host: c.Name, Port: c.Port, Phase: dial.Phase(PhaseHostKey), Err: keysErr}
	}
	c.Auth = d.auth(h, c.User)
	return c
}

// hopConfig returns the configuration of a hop. Hosts with the same Proxy get the same Config, so
// they share a connection.
func (d *dialer) hopConfig(h *HostConfig) *dial.Config {
	if h == nil {
		return nil
	}
	d.mu.Lock()
	c := d.hops[h]
	d.mu.Unlock()
	if c != nil {
		return c
	}
	host := *h
	c = d.config(&host)
	d.mu.Lock()
	defer d.mu.Unlock()
	if first := d.hops[h]; first != nil {
		return first
	}
	if d.hops == nil {
		d.hops = make(map[*HostConfig]*dial.Config)
	}
	d.hops[h] = c
	return c
}

// hostKeys returns which keys a host may have. It fails if a file cannot be read.
func (d *dialer) hostKeys(h *HostConfig) (keys dial.HostKeys, err error) {
	keys.Name, keys.Port = h.keyName()
	for _, file := range h.RevokedHostKeys {
		keys.Revoked = append(keys.Revoked, account.Expand(file))
	}
	keys.Command = knownhosts.Command(h.KnownHostsCommand)
	keys.CheckAddress = h.CheckHostIP && h.HostKeyAlias == "" && h.Proxy == nil && h.DialContext == nil
	policy := h.HostKeys
	if policy == nil {
		policy = &d.known
	}
	switch policy := policy.(type) {
	case *KnownHosts:
		if keys.Files, err = policy.load(); err != nil {
			return keys, err
		}
		if confirm := h.ConfirmHostKey; confirm != nil && policy.Unknown == AskUnknown {
			asked := NewHostKey{Host: h.name(), Name: keys.Name, Port: keys.Port, File: keys.Files.File}
			if asked.File == os.DevNull {
				asked.File = ""
			}
			keys.Confirm = func(ctx context.Context, key ssh.PublicKey) bool {
				asked := asked
				asked.Key = key
				return confirm(ctx, asked)
			}
		}
	default:
		keys.Algorithms = policy.Algorithms
		keys.Check = func(name string, port int, key ssh.PublicKey) error {
			return keyFailureOf(policy.Check(name, port, key), key)
		}
	}
	return keys, nil
}

// auth returns the credentials that may be offered to a host.
func (d *dialer) auth(h *HostConfig, user string) dial.Auth {
	a := &h.Auth
	auth := dial.Auth{
		Methods: a.Methods, Password: a.Password,
		Identities: identity.Config{
			User: user, KeyFile: a.KeyFile, CertFile: a.CertFile, KeyData: a.KeyData, CertData: a.CertData, Signers: a.Signers,
			Identities: a.Identities, CertFiles: a.CertFiles, IdentitiesOnly: a.IdentitiesOnly, NoDefaultKeys: a.NoDefaultKeys,
			Secrets: h.secrets(), Algorithms: h.algorithms(),
		},
		AsksAgent: !a.NoAgent && (!a.ownKeys() || a.KeyFile != "" || len(a.KeyData) > 0),
		AskAgain:  d.askInstead(h, RefusedPassword{}), AskAgainKDC: d.askInstead(h, RefusedPassword{Kerberos: true}),
	}
	if g := a.GSSAPI; g != nil {
		auth.Kerberos = &dial.Kerberos{
			Options: g.options(), Server: cmp.Or(g.ServerIdentity, h.Host), Delegate: g.Delegate, IfTicket: g.IfTicket,
		}
	}
	if a.Ask != nil {
		auth.Ask = func(ctx context.Context, q dial.Question) (string, error) {
			return a.ask(ctx, Question{Host: h.name(), Prompt: q.Prompt, Echo: q.Echo})
		}
	}
	if a.Tell != nil {
		auth.Tell = func(text string) { a.Tell(h.name(), text) }
	}
	return auth
}

// secrets returns the passphrases for the encrypted keys of a host.
func (h *HostConfig) secrets() *keyfile.Secrets {
	s := &keyfile.Secrets{Passphrase: h.Auth.Passphrase, Password: h.Auth.Password}
	if h.Auth.Ask != nil {
		s.Ask = func(ctx context.Context, prompt string) (string, error) {
			return h.Auth.ask(ctx, Question{Host: h.name(), Prompt: prompt})
		}
	}
	return s
}

// controlSockets returns the paths at which the socket of an OpenSSH master may be.
func (h *HostConfig) controlSockets() ([]string, error) {
	if h.ControlPath == "" || h.ControlPath == "none" {
		return nil, nil
	}
	user, err := h.login()
	if err != nil {
		return nil, err
	}
	path := transport.ControlPath{Path: h.ControlPath, Host: h.Host, Port: h.port(), User: user}
	if h.Proxy != nil {
		path.Hop = h.Proxy.name()
	}
	return path.Sockets()
}
