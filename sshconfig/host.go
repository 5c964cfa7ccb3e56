package sshconfig

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetssh"
)

// Host returns the configuration of a host: base, with the settings of the files for alias in all
// fields of base that are zero. alias is the name as it would be given to ssh. Like the command
// line of ssh, base takes precedence over the files. If base.Host is set and is not alias, it is
// the name to connect to, whatever HostName says.
//
// ProxyJump becomes Proxy. The configuration of each hop comes from the files as well, but with
// Hops as its base and without the lines of [File.Options]. Hosts with the same hops share the
// HostConfig of the hop, and so its connection. They also share HostKeys if they have the same
// known_hosts files. ProxyCommand becomes DialContext.
//
// [Settings.Unsupported] returns the lines that ssh would honour and Host does not. Host may run
// commands and look up names: see [File.Resolve]. The error is an [*Error] if it concerns a line.
func (f *File) Host(alias string, base fleetssh.HostConfig) (fleetssh.HostConfig, error) {
	h, _, err := f.HostContext(context.Background(), alias, base)
	return h, err
}

// HostContext is like [File.Host], and also returns the settings that it has applied. Commands and
// look-ups end when ctx ends.
func (f *File) HostContext(ctx context.Context, alias string, base fleetssh.HostConfig) (fleetssh.HostConfig, *Settings, error) {
	r := request{
		ctx: ctx, alias: alias, user: base.User, port: base.Port, hostKeyAlias: base.HostKeyAlias,
		proxied: base.Proxy != nil || base.DialContext != nil,
	}
	if base.Host != alias {
		r.hostName = base.Host
	}
	s, err := f.resolve(r)
	if err != nil {
		return fleetssh.HostConfig{}, nil, err
	}
	h, err := f.apply(ctx, s, base, nil)
	return h, s, err
}

// apply applies settings to base. chain is the hops that are being resolved already.
func (f *File) apply(ctx context.Context, s *Settings, base fleetssh.HostConfig, chain []hopKey) (fleetssh.HostConfig, error) {
	h := base
	if l := s.first(keyRefuseConnection); l != nil {
		return h, l.at.errorf("RefuseConnection: %s", l.values[0])
	}
	h.Host = s.HostName
	if h.Alias == "" && s.Alias != s.HostName {
		h.Alias = s.Alias
	}
	if h.User == "" {
		h.User = s.one(keyUser)
	}
	if s.first(keyPort) != nil {
		h.Port = s.Port
	}
	if h.HostKeyAlias == "" {
		h.HostKeyAlias = s.one(keyHostKeyAlias)
	}
	if h.ControlPath == "" {
		h.ControlPath = s.controlPath
	}
	if h.AddressFamily == "" {
		h.AddressFamily = map[string]string{"inet": "ip4", "inet6": "ip6"}[s.one(keyAddressFamily)]
	}
	if env := s.environment(os.Environ()); len(env) > 0 {
		h.SendEnv = env
		for name, value := range base.SendEnv {
			h.SendEnv[name] = value
		}
	}
	if h.BindAddress == "" {
		h.BindAddress = cmp.Or(s.one(keyBindAddress), s.one(keyBindInterface))
	}
	s.applyTimeouts(&h)
	s.applyAuth(&h.Auth)
	s.applyForwardAgent(&h)
	var err error
	if h.Algorithms, err = s.algorithms(base.Algorithms); err != nil {
		return h, err
	}
	if err := f.applyHostKeys(s, &h); err != nil {
		return h, err
	}
	if base.Proxy != nil || base.DialContext != nil {
		return h, nil
	}
	if h.Proxy, err = f.proxy(ctx, s, chain); err != nil || h.Proxy != nil {
		return h, err
	}
	if l := s.first(keyProxyCommand); l != nil && !isNone(l.values[0]) {
		if h.Proxy, err = f.commandHop(ctx, s, l.values[0], chain); err != nil {
			return h, l.at.errorf("ProxyCommand: %w", err)
		}
		if h.Proxy != nil {
			return h, nil
		}
		if h.DialContext, err = f.proxyCommand(s, l.values[0]); err != nil {
			return h, l.at.errorf("ProxyCommand: %w", err)
		}
	}
	return h, nil
}

// applyTimeouts sets how long to wait and how often to try.
func (s *Settings) applyTimeouts(h *fleetssh.HostConfig) {
	number := func(k *keyword) int {
		n, _ := strconv.Atoi(s.one(k)) // "none" is 0; other values have been checked
		return n
	}
	if h.ConnectTimeout == 0 {
		h.ConnectTimeout = time.Duration(number(keyConnectTimeout)) * time.Second
	}
	if h.Attempts == 0 {
		h.Attempts = number(keyConnectionAttempts)
	}
	if h.KeepAlive != 0 || s.first(keyServerAliveInterval) == nil {
		return
	}
	h.KeepAlive = -1
	if interval := time.Duration(number(keyServerAliveInterval)) * time.Second; interval > 0 {
		h.KeepAlive = interval
		// fleetssh always waits for three more intervals. A lower ServerAliveCountMax
		// therefore shortens the interval.
		if most := number(keyServerAliveCountMax); s.first(keyServerAliveCountMax) != nil && most < 3 {
			h.KeepAlive = max(interval*time.Duration(most)/3, time.Second)
		}
	}
}

// Values of PreferredAuthentications.
const (
	methodGSSAPI   = "gssapi-with-mic"
	methodKey      = "publickey"
	methodKeyboard = "keyboard-interactive"
	methodPassword = "password"
)

// allows reports whether a login method may be tried.
func (s *Settings) allows(method string, k *keyword) bool {
	if s.one(k) == "no" {
		return false
	}
	l := s.first(keyPreferred)
	return l == nil || slices.Contains(strings.Split(l.values[0], ","), method)
}

// applyAuth sets what is offered to log in.
func (s *Settings) applyAuth(a *fleetssh.Auth) {
	ownKeys := a.KeyFile != "" || len(a.KeyData) > 0 || len(a.Signers) > 0
	switch {
	case s.one(keyIdentityAgent) == "":
	case s.agent() == "":
		a.NoAgent = a.NoAgent || a.AgentSocket == ""
	case a.AgentSocket == "":
		a.AgentSocket = s.agent()
	}
	if identities, set := s.identities(); set && len(a.Identities) == 0 && !a.NoDefaultKeys {
		a.Identities, a.NoDefaultKeys = identities, len(identities) == 0
	}
	a.IdentitiesOnly = a.IdentitiesOnly || s.one(keyIdentitiesOnly) == "yes"
	if a.CertFile == "" && len(a.CertData) == 0 && len(a.CertFiles) == 0 {
		a.CertFiles = s.certificates()
	}
	if !s.allows(methodKey, keyPubkey) && !ownKeys {
		a.NoAgent, a.NoDefaultKeys, a.Identities, a.CertFile, a.CertFiles = true, true, nil, "", nil
	}
	if a.GSSAPI == nil && s.one(keyGSSAPI) == "yes" && s.allows(methodGSSAPI, keyGSSAPI) {
		a.GSSAPI = &fleetssh.GSSAPI{
			ServerIdentity: s.one(keyGSSAPIServer),
			ClientIdentity: s.one(keyGSSAPIClient),
			Delegate:       s.one(keyGSSAPIDelegate) == "yes",
			IfTicket:       true,
		}
	}
	if !s.allows(methodPassword, keyPassword) && !s.allows(methodKeyboard, keyKbdInteractive) {
		if a.Passphrase == "" {
			a.Passphrase = a.Password // Password is also the default passphrase
		}
		a.Password, a.Ask = "", nil
	}
	if s.one(keyBatchMode) == "yes" {
		a.Ask = nil
	}
	s.applyMethods(a)
}

// applyMethods removes the login methods that the configuration disables.
func (s *Settings) applyMethods(a *fleetssh.Auth) {
	if len(a.Methods) > 0 {
		return
	}
	var left []string
	for _, m := range []struct {
		name string
		key  *keyword
	}{{methodKey, keyPubkey}, {methodKeyboard, keyKbdInteractive}, {methodPassword, keyPassword}} {
		if s.allows(m.name, m.key) {
			left = append(left, m.name)
		}
	}
	if len(left) == 3 {
		return
	}
	// Kerberos is used only if GSSAPI is set. An empty list would mean all methods.
	if a.GSSAPI != nil || len(left) == 0 {
		left = append(left, methodGSSAPI)
	}
	a.Methods = left
}

// applyHostKeys sets which host keys are trusted, and which are revoked.
func (f *File) applyHostKeys(s *Settings, h *fleetssh.HostConfig) error {
	if h.HostKeys == nil {
		var err error
		if h.HostKeys, err = f.hostKeys(s); err != nil {
			return err
		}
		if len(h.KnownHostsCommand) == 0 {
			h.KnownHostsCommand = s.keyCommand
		}
	}
	if s.one(keyBatchMode) == "yes" {
		h.ConfirmHostKey = nil
	}
	if l := s.first(keyRevokedHostKeys); l != nil && len(h.RevokedHostKeys) == 0 && !isNone(l.values[0]) {
		h.RevokedHostKeys = l.values
	}
	h.CheckHostIP = h.CheckHostIP || s.one(keyCheckHostIP) == "yes"
	return nil
}

// identities returns the files of IdentityFile. set is false if there is no such line.
func (s *Settings) identities() (files []string, set bool) {
	all := s.strings(keyIdentityFile)
	return slices.DeleteFunc(slices.Clone(all), isNone), len(all) > 0
}

// certificates returns the files of CertificateFile. They need not exist.
func (s *Settings) certificates() []string {
	return slices.DeleteFunc(slices.Clone(s.strings(keyCertificateFile)), isNone)
}

func isNone(s string) bool { return strings.EqualFold(s, "none") }

// agent returns the socket of the agent used to log in, empty if there is none.
func (s *Settings) agent() string {
	switch value := s.one(keyIdentityAgent); {
	case value == "" || value == "SSH_AUTH_SOCK":
		return os.Getenv("SSH_AUTH_SOCK")
	case isNone(value):
		return ""
	case strings.HasPrefix(value, "$"):
		return os.Getenv(value[1:])
	default:
		return value
	}
}

// forwarded returns the socket of the agent that ForwardAgent forwards, empty if there is none.
func (s *Settings) forwarded() string {
	value := s.one(keyForwardAgent)
	switch {
	case value == "" || slices.Contains([]string{"no", "false"}, strings.ToLower(value)):
		return ""
	case slices.Contains([]string{"yes", "true"}, strings.ToLower(value)):
		return s.agent()
	case strings.HasPrefix(value, "$"):
		return os.Getenv(value[1:])
	}
	return value
}

// applyForwardAgent sets whether the agent is forwarded. fleetssh can forward only the agent that
// it logs in with. Without an agent it goes on, as ssh does.
func (s *Settings) applyForwardAgent(h *fleetssh.HostConfig) {
	socket := s.forwarded()
	if h.ForwardAgent || socket == "" {
		return
	}
	own := h.Auth.AgentSocket
	if own == "" {
		own = os.Getenv("SSH_AUTH_SOCK")
	}
	h.ForwardAgent = socket == own
}
