package main

import (
	"net/url"
	"slices"
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/sshconfig"
)

// What a user gives to a flag may be a secret: a password in the URL of a proxy, a token in the
// line of a proxy command. So what is recorded, shown and said of flags is closed by default: a
// value is hidden unless its flag is listed here as harmless. A test goes through all flags of all
// verbs, so that a new one is decided about.

// hidden stands for what is hidden.
const hidden = "***"

// redact returns the value of a flag as it may be kept and shown. What it returns stays the same
// when it is redacted again.
func redact(flag, value string) string {
	switch {
	case harmlessFlags[flag] || value == "true" || value == "false": // as switches have it
		return value
	case flag == "proxy":
		return redactURL(value)
	case flag == "option":
		return redactOption(value)
	case flag == "env":
		return redactEnv(value)
	}
	return hidden
}

// isHidden reports whether redact has hidden a value of a flag, or a part of it.
func isHidden(flag, value string) bool {
	return !harmlessFlags[flag] && strings.Contains(value, hidden) && redact(flag, value) == value
}

// harmlessFlags are the flags whose values are shown: they are numbers, names, paths and words.
// Switches, which have none, need not be listed.
// What is to run on the hosts (--shell) is shown as the command itself is.
var harmlessFlags = wordSet(`
	hosts exclude group inventory hostfile limit pick
	login port identity cert password-file host-key known-hosts ssh-config
	jump control-path principal service-host keytab
	fanout connect-timeout attempts retry-delay timeout
	run-as shell stdin script
	batch max-fail pause confirm-over args-file deadline exit-policy
	format outdir errdir progress color
	report number output config
	limit-rate open-files protocol
	local remote dynamic each base-port serve
	save fingerprints replace
	split coalesce directory
	dir fail fault fault-hosts latency silent slow`)

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(words) {
		set[word] = true
	}
	return set
}

// proxySchemes are those of --proxy.
var proxySchemes = []string{"socks5", "socks5h", "http", "https"}

// redactURL hides the password of a proxy. It is not looked for in the text, where it may be
// spelled in many ways: the URL is made anew of its parts. A user without a password is a token,
// as some proxies want it. What is no URL of a proxy is hidden whole.
func redactURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return hidden
	case u.Scheme == "unix" && u.Host == "" && u.User == nil:
		return "unix://" + u.EscapedPath()
	case !slices.Contains(proxySchemes, u.Scheme) || u.Path != "" && u.Path != "/":
		return hidden
	case u.User == nil:
		return u.Scheme + "://" + u.Host + u.Path
	}
	user := hidden
	if password, _ := u.User.Password(); password != "" {
		user = url.User(u.User.Username()).String() + ":" + hidden
		if u.User.Username() == hidden {
			user = hidden + ":" + hidden
		}
	}
	return u.Scheme + "://" + user + "@" + u.Host + u.Path
}

// redactEnv hides the value of NAME=VALUE.
func redactEnv(variable string) string {
	name, _, found := strings.Cut(variable, "=")
	if !found {
		return hidden
	}
	return name + "=" + hidden
}

// redactOption hides the value of a line of ssh_config, unless its keyword is listed as harmless.
func redactOption(line string) string {
	name, value := splitOption(line)
	if redactConfig(name, value) != hidden {
		return line
	}
	if name == "" {
		return hidden
	}
	return name + "=" + hidden
}

// splitOption returns the keyword and the value of -o KEY=VALUE or -o "KEY VALUE".
func splitOption(line string) (name, value string) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, "= \t")
	if end < 0 {
		return "", line
	}
	return line[:end], strings.TrimLeft(line[end:], "= \t")
}

// redactConfig returns the value of a keyword of ssh_config as it may be shown: lines that are run
// and values of variables may hold secrets.
func redactConfig(keyword, value string) string {
	if harmlessKeywords[strings.ToLower(keyword)] {
		return value
	}
	return hidden
}

// optionFault is what is wrong with one of several lines of -o. What the error quotes of a line
// that may hold a secret is not told.
func optionFault(err error, options []string) error {
	for _, option := range options {
		file, failed := sshconfig.Load("none")
		if failed == nil && file.Options(option) != nil && redactOption(option) != option {
			return exit.UsageError("as in -o Port=2222, see ssh_config(5)", "-o: %s cannot be used: it may be a secret, and is not shown", redactOption(option))
		}
	}
	return configFault(err)
}

// redactUnsupported does the same for a line that has no effect.
func redactUnsupported(u sshconfig.Unsupported) sshconfig.Unsupported {
	u.Value = redactConfig(u.Keyword, u.Value)
	return u
}

// harmlessKeywords are the keywords of ssh_config whose values are no secrets: numbers, names,
// paths and lists of algorithms.
var harmlessKeywords = wordSet(strings.ToLower(`
	AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CanonicalDomains CanonicalizeFallbackLocal
	CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs CASignatureAlgorithms CertificateFile
	ChallengeResponseAuthentication ChannelTimeout CheckHostIP Ciphers ClearAllForwardings Compression
	ConnectionAttempts ConnectTimeout ControlMaster ControlPath ControlPersist DynamicForward EnableEscapeCommandline
	EnableSSHKeysign EscapeChar ExitOnForwardFailure FingerprintHash ForkAfterAuthentication ForwardAgent ForwardX11
	ForwardX11Timeout ForwardX11Trusted GatewayPorts GlobalKnownHostsFile GSSAPIAuthentication GSSAPIClientIdentity
	GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIKeyExchange GSSAPIRenewalForcesRekey GSSAPIServerIdentity
	GSSAPITrustDns HashKnownHosts HostbasedAcceptedAlgorithms HostbasedAuthentication HostbasedKeyTypes
	HostKeyAlgorithms HostKeyAlias HostName IdentitiesOnly IdentityAgent IdentityFile IgnoreUnknown IPQoS
	KbdInteractiveAuthentication KbdInteractiveDevices KexAlgorithms LocalForward LogLevel LogVerbose MACs
	NoHostAuthenticationForLocalhost NumberOfPasswordPrompts ObscureKeystrokeTiming PasswordAuthentication
	PermitLocalCommand PermitRemoteOpen PKCS11Provider Port PreferredAuthentications ProxyJump ProxyUseFdpass
	PubkeyAcceptedAlgorithms PubkeyAcceptedKeyTypes PubkeyAuthentication RefuseConnection RekeyLimit RemoteForward
	RequestTTY RequiredRSASize RevokedHostKeys RSAMinSize SecurityKeyProvider SendEnv ServerAliveCountMax
	ServerAliveInterval SessionType SmartcardDevice StdinNull StreamLocalBindMask StreamLocalBindUnlink
	StrictHostKeyChecking SyslogFacility Tag TCPKeepAlive Tunnel TunnelDevice UpdateHostKeys UseKeychain User
	UserKnownHostsFile UseRoaming VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto XAuthLocation`))
