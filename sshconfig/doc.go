// Package sshconfig reads the configuration of OpenSSH's client as ssh reads it, and
// makes settings of it that fleetssh uses.
//
// [Load] reads the files once. [File.Host] answers for one alias with a
// [fleetssh.HostConfig], [File.Resolve] with every setting and where it comes from,
// as ssh -G does.
//
// # What is read
//
// All of ssh_config(5) up to OpenSSH 10: quotes and comments, "Key=Value", Host with
// negation, Match with all its criteria but command and version, which are never true
// here, Include, the second pass of Match final and CanonicalizeHostname, tokens,
// ${VARIABLES}, and lists of algorithms with "+", "-" and "^". The first value of a
// keyword wins. As with ssh, an unknown keyword is an error unless IgnoreUnknown names
// it, and so is a value that cannot be used, even where it does not apply.
//
// # What has an effect
//
// AddressFamily, BatchMode, BindAddress, BindInterface, CanonicalDomains,
// CanonicalizeFallbackLocal, CanonicalizeHostname, CanonicalizeMaxDots,
// CanonicalizePermittedCNAMEs, CASignatureAlgorithms, CertificateFile, CheckHostIP,
// Ciphers, ClearAllForwardings, ConnectTimeout, ConnectionAttempts, ControlPath,
// ForwardAgent, GlobalKnownHostsFile, GSSAPIAuthentication, GSSAPIClientIdentity,
// GSSAPIDelegateCredentials, GSSAPIServerIdentity, HashKnownHosts, HostKeyAlgorithms,
// HostKeyAlias, HostName, IdentitiesOnly, IdentityAgent, IdentityFile, IgnoreUnknown,
// KbdInteractiveAuthentication, KexAlgorithms, KnownHostsCommand, MACs,
// PasswordAuthentication, PermitLocalCommand, Port, PreferredAuthentications,
// ProxyCommand, ProxyJump, ProxyUseFdpass, PubkeyAcceptedAlgorithms,
// PubkeyAuthentication, RefuseConnection, RequiredRSASize (RHEL: RSAMinSize),
// RevokedHostKeys, SendEnv, ServerAliveCountMax, ServerAliveInterval, SetEnv,
// StrictHostKeyChecking, Tag, User and UserKnownHostsFile.
//
// What only narrows, in that less is trusted or offered, is honoured, or else the host
// is not connected to. It is not honoured over the connection of a master, which ssh
// has made by its own rules.
//
// Where fleetssh differs from ssh:
//
//   - StrictHostKeyChecking ask is strict. no is accept-new: a host that is not known
//     is added, but one whose key has changed is refused, where ssh would go on
//     without passwords.
//   - Algorithms that fleetssh does not have are left out; it is an error if none is
//     left. "+", "-" and "^" change the defaults of fleetssh. There are no signatures
//     with SHA-1, of users or of authorities, whatever a line allows.
//   - RequiredRSASize holds for the keys of authorities, too.
//   - The methods that PreferredAuthentications leaves out are not tried, but their
//     order is always Kerberos, keys, passwords.
//   - With BatchMode, nothing is asked.
//   - "ProxyCommand ssh -W %h:%p gate", with options that are all understood, is a hop
//     that hosts share, as with ProxyJump: one connection in place of an ssh for each
//     host.
//   - ServerAliveInterval 0 turns probes off; without it, the default of fleetssh
//     holds.
//   - Without an agent, ForwardAgent does nothing, as in ssh.
//
// # What has none
//
// [File.Unsupported] and [Settings.Unsupported] name the lines that would change how
// ssh connects, or what it does then, and what the differences above leave out; not
// where the value is the default. [Unsupported.Use] says what they would concern:
//
//   - the connection: AddKeysToAgent, ChannelTimeout, Compression, ControlMaster,
//     GSSAPIKeyExchange, GSSAPIRenewalForcesRekey, GSSAPITrustDns,
//     HostbasedAuthentication, IPQoS, KbdInteractiveDevices,
//     NoHostAuthenticationForLocalhost, NumberOfPasswordPrompts, PKCS11Provider,
//     RekeyLimit, SecurityKeyProvider, UpdateHostKeys, VerifyHostKeyDNS
//   - commands: DynamicForward, EscapeChar, ForwardX11, LocalCommand, LocalForward,
//     ObscureKeystrokeTiming, RemoteCommand, RemoteForward, RequestTTY, SessionType,
//     Tunnel
//   - tunnels: ExitOnForwardFailure, GatewayPorts, PermitRemoteOpen,
//     StreamLocalBindMask, StreamLocalBindUnlink
//
// Passed over, and their values not looked at, are keywords that mean nothing here:
//
//   - what says more about something above: ControlPersist, EnableSSHKeysign,
//     ForwardX11Timeout, ForwardX11Trusted, GSSAPIKexAlgorithms,
//     HostbasedAcceptedAlgorithms, TunnelDevice, XAuthLocation
//   - the messages, the log and the terminal of ssh: EnableEscapeCommandline,
//     FingerprintHash, LogLevel, LogVerbose, SyslogFacility, VersionAddendum,
//     VisualHostKey, WarnWeakCrypto
//   - ForkAfterAuthentication and StdinNull, because fleetssh goes to no background, and
//     reads only the input that it is told to
//   - TCPKeepAlive, because dead hosts are found by probes of SSH
//   - UseKeychain of Apple's ssh, on macOS
//   - what ssh itself passes over: Protocol and others
package sshconfig
