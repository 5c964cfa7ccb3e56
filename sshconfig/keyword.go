package sshconfig

import (
	"runtime"
	"strings"
)

// keyword describes a keyword of ssh_config(5).
type keyword struct {
	name  string // in the spelling of the manual page
	index int    // in the table
	kind  kind
	role  role

	// choices are the allowed values, in pairs: the value as written, and its meaning.
	choices []string

	// Of an unsupported keyword:
	harmless []string // values that would have no effect in ssh either
	use      Use      // what it would affect
	minor    bool     // see Unsupported
}

// kind is the syntax of the values of a keyword.
type kind int

const (
	loose   kind = iota // not checked: the keyword has no effect
	word                // one word
	words               // one or more words
	choice              // one of a few words
	number              // a non-negative number
	port                // a port or the name of one
	seconds             // a time, as in sshd_config(5), "TIME FORMATS", or "none"
	rest                // the rest of the line, unchanged
	jumps               // hops, as in ProxyJump
	names               // algorithms, separated by commas
	files               // one or more words; "none" must be the only one
	environ             // one or more words of the form NAME=value
)

// role says what fleetssh does with a keyword.
type role int

const (
	ignored     role = iota // it is meaningless to fleetssh
	applied                 // it has an effect; the first value wins
	gathered                // it has an effect; all values count
	unsupported             // it matters to ssh and has no effect: Settings.Unsupported reports it
)

// keywords is the table, by the name in lower case.
var keywords = makeKeywords(runtime.GOOS)

// keywordCount is the number of different keywords in the table.
var keywordCount = func() int {
	n := 0
	for _, k := range keywords {
		n = max(n, k.index+1)
	}
	return n
}()

// The keywords that the code refers to.
var (
	keyAddressFamily       = keywords["addressfamily"]
	keyBatchMode           = keywords["batchmode"]
	keyBindAddress         = keywords["bindaddress"]
	keyBindInterface       = keywords["bindinterface"]
	keyCanonicalDomains    = keywords["canonicaldomains"]
	keyCanonicalFallback   = keywords["canonicalizefallbacklocal"]
	keyCanonicalize        = keywords["canonicalizehostname"]
	keyCanonicalMaxDots    = keywords["canonicalizemaxdots"]
	keyPermittedCNAMEs     = keywords["canonicalizepermittedcnames"]
	keyCASignatures        = keywords["casignaturealgorithms"]
	keyCertificateFile     = keywords["certificatefile"]
	keyCheckHostIP         = keywords["checkhostip"]
	keyCiphers             = keywords["ciphers"]
	keyClearForwardings    = keywords["clearallforwardings"]
	keyConnectTimeout      = keywords["connecttimeout"]
	keyConnectionAttempts  = keywords["connectionattempts"]
	keyControlPath         = keywords["controlpath"]
	keyForwardAgent        = keywords["forwardagent"]
	keyGlobalKnownHosts    = keywords["globalknownhostsfile"]
	keyGSSAPI              = keywords["gssapiauthentication"]
	keyGSSAPIClient        = keywords["gssapiclientidentity"]
	keyGSSAPIDelegate      = keywords["gssapidelegatecredentials"]
	keyGSSAPIServer        = keywords["gssapiserveridentity"]
	keyHashKnownHosts      = keywords["hashknownhosts"]
	keyHostKeyAlgorithms   = keywords["hostkeyalgorithms"]
	keyHostKeyAlias        = keywords["hostkeyalias"]
	keyHostName            = keywords["hostname"]
	keyIdentitiesOnly      = keywords["identitiesonly"]
	keyIdentityAgent       = keywords["identityagent"]
	keyIdentityFile        = keywords["identityfile"]
	keyIgnoreUnknown       = keywords["ignoreunknown"]
	keyKbdInteractive      = keywords["kbdinteractiveauthentication"]
	keyKnownHostsCommand   = keywords["knownhostscommand"]
	keyKexAlgorithms       = keywords["kexalgorithms"]
	keyMACs                = keywords["macs"]
	keyPassword            = keywords["passwordauthentication"]
	keyPermitLocal         = keywords["permitlocalcommand"]
	keyPort                = keywords["port"]
	keyPreferred           = keywords["preferredauthentications"]
	keyProxyCommand        = keywords["proxycommand"]
	keyProxyJump           = keywords["proxyjump"]
	keyProxyUseFdpass      = keywords["proxyusefdpass"]
	keyPubkey              = keywords["pubkeyauthentication"]
	keyPubkeyAccepted      = keywords["pubkeyacceptedalgorithms"]
	keyRequiredRSASize     = keywords["requiredrsasize"]
	keyRevokedHostKeys     = keywords["revokedhostkeys"]
	keyRefuseConnection    = keywords["refuseconnection"]
	keySendEnv             = keywords["sendenv"]
	keyServerAliveCountMax = keywords["serveralivecountmax"]
	keyServerAliveInterval = keywords["serveraliveinterval"]
	keySetEnv              = keywords["setenv"]
	keyStrict              = keywords["stricthostkeychecking"]
	keyTag                 = keywords["tag"]
	keyUser                = keywords["user"]
	keyUserKnownHosts      = keywords["userknownhostsfile"]
)

// severity says whether each run should report a line without effect.
type severity int

const (
	major severity = iota
	minor          // see Unsupported.Minor
)

func makeKeywords(system string) map[string]*keyword {
	var all []*keyword
	add := func(role role, kind kind, names ...string) {
		for _, name := range names {
			all = append(all, &keyword{name: name, kind: kind, role: role})
		}
	}
	choose := func(name string, choices ...string) {
		all = append(all, &keyword{name: name, kind: choice, role: applied, choices: choices})
	}
	refuse := func(use Use, severity severity, name string, harmless ...string) {
		all = append(all, &keyword{name: name, kind: loose, role: unsupported, use: use, minor: severity == minor, harmless: harmless})
	}

	yesNo := []string{"yes", "yes", "true", "yes", "no", "no", "false", "no"}
	for _, name := range []string{
		"BatchMode", "CanonicalizeFallbackLocal", "CheckHostIP", "GSSAPIAuthentication", "GSSAPIDelegateCredentials", "HashKnownHosts",
		"IdentitiesOnly", "KbdInteractiveAuthentication", "PasswordAuthentication",
		"ClearAllForwardings", "PermitLocalCommand", "ProxyUseFdpass",
	} {
		choose(name, yesNo...)
	}
	choose("AddressFamily", "any", "any", "inet", "inet", "inet6", "inet6")
	choose("CanonicalizeHostname", append([]string{"always", "always"}, yesNo...)...)
	choose("PubkeyAuthentication", append([]string{"unbound", "yes", "host-bound", "yes"}, yesNo...)...)
	choose("StrictHostKeyChecking", append([]string{"ask", "ask", "off", "no", "accept-new", "accept-new"}, yesNo...)...)

	add(applied, word, "BindAddress", "BindInterface", "ControlPath", "ForwardAgent", "GSSAPIClientIdentity", "GSSAPIServerIdentity", "HostKeyAlias", "HostName",
		"IdentityAgent", "IgnoreUnknown", "PreferredAuthentications", "Tag", "User")
	add(applied, words, "CanonicalDomains", "CanonicalizePermittedCNAMEs")
	add(applied, files, "GlobalKnownHostsFile", "RevokedHostKeys", "UserKnownHostsFile")
	add(applied, number, "CanonicalizeMaxDots", "ConnectionAttempts", "RequiredRSASize", "ServerAliveCountMax")
	add(applied, port, "Port")
	add(applied, seconds, "ConnectTimeout", "ServerAliveInterval")
	add(applied, rest, "KnownHostsCommand", "ProxyCommand", "RefuseConnection")
	add(applied, jumps, "ProxyJump")
	add(applied, names, "CASignatureAlgorithms", "Ciphers", "HostKeyAlgorithms", "KexAlgorithms", "MACs", "PubkeyAcceptedAlgorithms")
	add(applied, environ, "SetEnv")
	add(gathered, word, "CertificateFile", "IdentityFile")
	add(gathered, words, "SendEnv")

	// Keywords that matter and have no effect.
	for _, name := range []string{
		"Compression", "GSSAPIKeyExchange", "GSSAPITrustDns", "HostbasedAuthentication", "NoHostAuthenticationForLocalhost",
		"UpdateHostKeys",
	} {
		refuse(UseConnection, major, name, "no", "false")
	}
	refuse(UseConnection, major, "ChannelTimeout", "none")
	refuse(UseConnection, major, "PKCS11Provider", "none")
	refuse(UseConnection, major, "RekeyLimit", "default", "none")
	refuse(UseConnection, major, "SecurityKeyProvider", "internal")
	refuse(UseConnection, minor, "AddKeysToAgent", "no", "false")
	refuse(UseConnection, minor, "VerifyHostKeyDNS", "no", "false") // an error about an unknown host says it
	refuse(UseConnection, minor, "ControlMaster", "no", "false")
	refuse(UseConnection, minor, "GSSAPIRenewalForcesRekey", "no", "false")
	refuse(UseConnection, minor, "IPQoS", "none")
	refuse(UseConnection, minor, "KbdInteractiveDevices")
	refuse(UseConnection, minor, "NumberOfPasswordPrompts", "1")
	for _, name := range []string{"DynamicForward", "LocalCommand", "LocalForward", "RemoteForward"} {
		refuse(UseCommands, major, name)
	}
	refuse(UseCommands, major, "ForwardX11", "no", "false")
	refuse(UseCommands, major, "RemoteCommand", "none")
	refuse(UseCommands, major, "RequestTTY", "no", "false", "auto")
	refuse(UseCommands, major, "SessionType", "default")
	refuse(UseCommands, major, "Tunnel", "no", "false")
	refuse(UseCommands, minor, "EscapeChar", "~")
	refuse(UseCommands, minor, "ObscureKeystrokeTiming", "no", "false")
	for _, name := range []string{"ExitOnForwardFailure", "GatewayPorts", "StreamLocalBindUnlink"} {
		refuse(UseTunnels, major, name, "no", "false")
	}
	refuse(UseTunnels, major, "PermitRemoteOpen", "any")
	refuse(UseTunnels, major, "StreamLocalBindMask", "0177")

	// Keywords that are meaningless here. Some refine another keyword without effect, such as
	// ControlPersist, EnableSSHKeysign and ForwardX11Timeout. Others concern the messages, the log
	// and the terminal of ssh. fleetssh reads standard input only when told to, does not go to the
	// background, and finds dead hosts by SSH keep-alives rather than those of TCP.
	add(ignored, loose, "ControlPersist", "EnableEscapeCommandline", "EnableSSHKeysign", "FingerprintHash", "ForkAfterAuthentication",
		"ForwardX11Timeout", "ForwardX11Trusted", "GSSAPIKexAlgorithms", "HostbasedAcceptedAlgorithms", "LogLevel", "LogVerbose",
		"StdinNull", "SyslogFacility", "TCPKeepAlive", "TunnelDevice", "VersionAddendum", "VisualHostKey", "WarnWeakCrypto",
		"XAuthLocation")
	if system == "darwin" {
		add(ignored, loose, "UseKeychain") // of Apple's ssh
	}

	// Keywords that ssh itself ignores.
	add(ignored, loose, "AFSTokenPassing", "Cipher", "CompressionLevel", "FallBackToRsh", "GlobalKnownHostsFile2",
		"KerberosAuthentication", "KerberosTGTPassing", "Protocol", "RhostsAuthentication", "RhostsRSAAuthentication",
		"RSAAuthentication", "SmartcardDevice", "UsePrivilegedPort", "UserKnownHostsFile2", "UseRoaming", "UseRsh")

	table := make(map[string]*keyword, len(all)+16)
	for i, k := range all {
		k.index = i
		table[strings.ToLower(k.name)] = k
	}
	for alias, name := range map[string]string{
		"challengeresponseauthentication": "kbdinteractiveauthentication",
		"skeyauthentication":              "kbdinteractiveauthentication",
		"tisauthentication":               "kbdinteractiveauthentication",
		"dsaauthentication":               "pubkeyauthentication",
		"hostbasedkeytypes":               "hostbasedacceptedalgorithms",
		"identityfile2":                   "identityfile",
		"keepalive":                       "tcpkeepalive",
		"protocolkeepalives":              "serveraliveinterval", // of Debian
		"pubkeyacceptedkeytypes":          "pubkeyacceptedalgorithms",
		"rsaminsize":                      "requiredrsasize",     // of RHEL 8 and 9
		"setuptimeout":                    "serveraliveinterval", // of Debian
	} {
		table[alias] = table[name]
	}
	return table
}
