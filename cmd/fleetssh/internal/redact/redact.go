// Package redact decides which values of flags, and of lines of ssh_config, may be recorded and
// shown. It hides all others: they may be secrets.
package redact

import (
	"net/url"
	"slices"
	"strings"

	"fleetssh/sshconfig"
)

// The value of a flag may be a secret: a password in the URL of a proxy, a token in a proxy command.
// So a value is hidden unless its flag is listed here as harmless. A test goes through all flags of
// all verbs, so every new flag needs a decision.

// Hidden replaces a hidden value.
const Hidden = "***"

// Flag returns the value of a flag as it may be recorded and shown. Applying it twice
// changes nothing.
func Flag(flag, value string) string {
	switch {
	case HarmlessFlags[flag] || value == "true" || value == "false": // of a switch
		return value
	case flag == "proxy":
		return proxyURL(value)
	case flag == "option":
		return Option(value)
	case flag == "env":
		return variable(value)
	}
	return Hidden
}

// IsHidden reports whether [Flag] has hidden a value of a flag, or a part of it.
func IsHidden(flag, value string) bool {
	return !HarmlessFlags[flag] && strings.Contains(value, Hidden) && Flag(flag, value) == value
}

// HarmlessFlags are the flags whose values are shown: they are numbers, names, paths and words.
// Switches, which have none, need not be listed. What is to run (--shell, --gate) is shown as the
// command itself is.
var HarmlessFlags = wordSet(`
	hosts exclude group inventory hostfile where limit pick
	login port identity cert password-file sudo-password-file host-key known-hosts ssh-config
	jump control-path principal service-host keytab
	fanout connect-timeout attempts retry-delay timeout
	run-as shell stdin script command every
	batch max-fail pause gate gate-local confirm-over args-file deadline exit-policy
	format outdir errdir progress color
	report number output config
	limit-rate open-files protocol owner mode
	local remote dynamic each base-port serve
	save fingerprints replace
	split coalesce directory
	dir fail fault fault-hosts latency names silent slow`)

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(words) {
		set[word] = true
	}
	return set
}

// proxySchemes are the URL schemes of --proxy.
var proxySchemes = []string{"socks5", "socks5h", "http", "https"}

// proxyURL hides the password in the URL of a proxy. It builds the URL from its parts, because the
// text can spell a password in many ways. A user without a password is hidden too: some proxies
// expect a token there. Text that is not the URL of a proxy is hidden completely.
func proxyURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return Hidden
	case u.Scheme == "unix" && u.Host == "" && u.User == nil:
		return "unix://" + u.EscapedPath()
	case !slices.Contains(proxySchemes, u.Scheme) || u.Path != "" && u.Path != "/":
		return Hidden
	case u.User == nil:
		return u.Scheme + "://" + u.Host + u.Path
	}
	user := Hidden
	if password, _ := u.User.Password(); password != "" {
		user = url.User(u.User.Username()).String() + ":" + Hidden
		if u.User.Username() == Hidden {
			user = Hidden + ":" + Hidden
		}
	}
	return u.Scheme + "://" + user + "@" + u.Host + u.Path
}

// variable hides the value of NAME=VALUE.
func variable(variable string) string {
	name, _, found := strings.Cut(variable, "=")
	if !found {
		return Hidden
	}
	return name + "=" + Hidden
}

// Option hides the value of a line of ssh_config, unless its keyword is listed as harmless.
func Option(line string) string {
	name, value := SplitOption(line)
	if Keyword(name, value) != Hidden {
		return line
	}
	if name == "" {
		return Hidden
	}
	return name + "=" + Hidden
}

// SplitOption returns the keyword and the value of -o KEY=VALUE or -o "KEY VALUE".
func SplitOption(line string) (name, value string) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, "= \t")
	if end < 0 {
		return "", line
	}
	return line[:end], strings.TrimLeft(line[end:], "= \t")
}

// Keyword returns the value of a keyword of ssh_config as it may be shown. Commands and values of
// variables are hidden.
func Keyword(keyword, value string) string {
	if harmlessKeywords[strings.ToLower(keyword)] {
		return value
	}
	return Hidden
}

// Unsupported does what [Keyword] does, for a line of ssh_config that has no effect.
func Unsupported(u sshconfig.Unsupported) sshconfig.Unsupported {
	u.Value = Keyword(u.Keyword, u.Value)
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
