package sshconfig

import (
	"runtime"
	"strings"
)

// keyword is what is known about one keyword of ssh_config(5).
type keyword struct {
	name  string // as the manual page writes it
	index int    // its place in the table
	kind  kind
	role  role

	// choices are the values that may be given, in pairs: what is written, and
	// what it means.
	choices []string

	// Of an unsupported keyword:
	harmless []string // the values that change nothing
	use      Use      // what of fleetssh it would change
	minor    bool     // only explain tells it
}

// kind is how the values of a keyword are written.
type kind int

const (
	loose   kind = iota // anything: it has no effect here
	word                // one word
	words               // one or more words
	choice              // one of a few words
	number              // a number that is not negative
	port                // a port or the name of one
	seconds             // a time, as in sshd_config(5), "TIME FORMATS", or "none"
	rest                // the rest of the line as it is
	jumps               // hops, as ProxyJump takes them
	names               // algorithms with commas between them
	files               // one or more words, of which "none" must stand alone
	environ             // one or more words of the form NAME=value
)

// role is what becomes of a keyword.
type role int

const (
	ignored     role = iota // it means nothing to what fleetssh does
	applied                 // it has its effect; the first value counts
	gathered                // it has its effect; all values count
	unsupported             // it would matter, and has no effect: where it is in effect that is told
)

// keywords is the table, by the name in lower case.
var keywords = makeKeywords(runtime.GOOS)

// keywordCount is how many different keywords are in the table.
var keywordCount = func() int {
	n := 0
	for _, k := range keywords {
		n = max(n, k.index+1)
	}
	return n
}()

// The keywords that are looked at by name.
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

// minority says who is told of a line without effect.
type minority int

const (
	told      minority = iota // whoever runs something
	explained                 // who asks explain
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
	refuse := func(use Use, minor minority, name string, harmless ...string) {
		all = append(all, &keyword{name: name, kind: loose, role: unsupported, use: use, minor: minor == explained, harmless: harmless})
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

	// What is not built, and would change something.
	for _, name := range []string{
		"Compression", "GSSAPIKeyExchange", "GSSAPITrustDns", "HostbasedAuthentication", "NoHostAuthenticationForLocalhost",
		"UpdateHostKeys",
	} {
		refuse(UseConnection, told, name, "no", "false")
	}
	refuse(UseConnection, told, "ChannelTimeout", "none")
	refuse(UseConnection, told, "PKCS11Provider", "none")
	refuse(UseConnection, told, "RekeyLimit", "default", "none")
	refuse(UseConnection, told, "SecurityKeyProvider", "internal")
	refuse(UseConnection, explained, "AddKeysToAgent", "no", "false")
	refuse(UseConnection, explained, "VerifyHostKeyDNS", "no", "false") // said of hosts that are not known
	refuse(UseConnection, explained, "ControlMaster", "no", "false")
	refuse(UseConnection, explained, "GSSAPIRenewalForcesRekey", "no", "false")
	refuse(UseConnection, explained, "IPQoS", "none")
	refuse(UseConnection, explained, "KbdInteractiveDevices")
	refuse(UseConnection, explained, "NumberOfPasswordPrompts", "1")
	for _, name := range []string{"DynamicForward", "LocalCommand", "LocalForward", "RemoteForward"} {
		refuse(UseCommands, told, name)
	}
	refuse(UseCommands, told, "ForwardX11", "no", "false")
	refuse(UseCommands, told, "RemoteCommand", "none")
	refuse(UseCommands, told, "RequestTTY", "no", "false", "auto")
	refuse(UseCommands, told, "SessionType", "default")
	refuse(UseCommands, told, "Tunnel", "no", "false")
	refuse(UseCommands, explained, "EscapeChar", "~")
	refuse(UseCommands, explained, "ObscureKeystrokeTiming", "no", "false")
	for _, name := range []string{"ExitOnForwardFailure", "GatewayPorts", "StreamLocalBindUnlink"} {
		refuse(UseTunnels, told, name, "no", "false")
	}
	refuse(UseTunnels, told, "PermitRemoteOpen", "any")
	refuse(UseTunnels, told, "StreamLocalBindMask", "0177")

	// What means nothing here. ControlPersist, EnableSSHKeysign, ForwardX11Timeout and the
	// like say more about something that is not built and has a line of its own. The
	// messages, the log and the terminal of ssh are not those of fleetssh, which reads no
	// input that it is not told to, goes to no background, and finds dead hosts by probes
	// of SSH and not of TCP.
	add(ignored, loose, "ControlPersist", "EnableEscapeCommandline", "EnableSSHKeysign", "FingerprintHash", "ForkAfterAuthentication",
		"ForwardX11Timeout", "ForwardX11Trusted", "GSSAPIKexAlgorithms", "HostbasedAcceptedAlgorithms", "LogLevel", "LogVerbose",
		"StdinNull", "SyslogFacility", "TCPKeepAlive", "TunnelDevice", "VersionAddendum", "VisualHostKey", "WarnWeakCrypto",
		"XAuthLocation")
	if system == "darwin" {
		add(ignored, loose, "UseKeychain") // of Apple's ssh
	}

	// What ssh itself passes over.
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
