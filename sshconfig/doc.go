// Package sshconfig reads the configuration of OpenSSH's client (ssh_config) as ssh reads it, and
// converts it to configurations of fleetssh.
//
//	config, err := sshconfig.Load() // ~/.ssh/config and /etc/ssh/ssh_config
//	if err != nil {
//		return err
//	}
//	host, err := config.Host("web1", fleetssh.HostConfig{User: "deploy"})
//	if err != nil {
//		return err
//	}
//	client, err := fleetssh.Dial(ctx, host)
//
// [Load] reads the files once. [File.Host] returns the [fleetssh.HostConfig] of one host.
// [File.Resolve] returns all settings of a host and where they come from, like ssh -G. The example
// "Fleet" of package inventory combines an ssh_config with an inventory.
//
// # Syntax
//
// The package reads all of ssh_config(5) up to OpenSSH 10: quotes and comments, "Key=Value", Host
// with negation, Match, Include, the second pass of Match final and CanonicalizeHostname, tokens,
// ${VARIABLES}, and lists of algorithms with "+", "-" and "^". The criteria command and version of
// Match are never true. The first value of a keyword wins. As in ssh, an unknown keyword is an
// error unless IgnoreUnknown allows it, and an invalid value is an error even where it does not
// apply.
//
// # Keywords with an effect
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
// A setting that narrows what is trusted or offered is honoured, or else the host is not connected
// to. The exception is the connection of a master (ControlPath), which ssh has made by its own
// rules.
//
// fleetssh differs from ssh in these points:
//
//   - StrictHostKeyChecking ask means yes, unless HostConfig.ConfirmHostKey is set. no means accept-new: unknown hosts are added, but a host whose
//     key has changed is refused, where ssh would connect without passwords.
//   - Algorithms that fleetssh does not have are skipped; it is an error if none is left. "+", "-" and "^"
//     change the defaults of fleetssh. There are no SHA-1 signatures of users or authorities, whatever a
//     line allows.
//   - RequiredRSASize also applies to the keys of authorities.
//   - Methods that PreferredAuthentications omits are not tried, but the order is always Kerberos, keys,
//     passwords.
//   - With BatchMode, nothing is asked.
//   - "ProxyCommand ssh -W %h:%p HOP", if all its options are understood, is a hop that hosts share, as
//     with ProxyJump: one connection instead of an ssh process for each host.
//   - ServerAliveInterval 0 disables keep-alives. Without the keyword, the default of fleetssh applies.
//   - Without an agent, ForwardAgent has no effect, as in ssh.
//
// # Keywords without effect
//
// [File.Unsupported] and [Settings.Unsupported] return the lines that matter to ssh and have no
// effect, and what the differences above leave out, except values that are ssh's default.
// [Unsupported.Use] says what the lines would affect:
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
// Keywords that are meaningless to fleetssh are ignored, and their values are not checked:
//
//   - keywords that refine one of the above: ControlPersist, EnableSSHKeysign,
//     ForwardX11Timeout, ForwardX11Trusted, GSSAPIKexAlgorithms,
//     HostbasedAcceptedAlgorithms, TunnelDevice, XAuthLocation
//   - the messages, the log and the terminal of ssh: EnableEscapeCommandline,
//     FingerprintHash, LogLevel, LogVerbose, SyslogFacility, VersionAddendum,
//     VisualHostKey, WarnWeakCrypto
//   - ForkAfterAuthentication and StdinNull, because fleetssh does not go to the background, and reads
//     standard input only when told to
//   - TCPKeepAlive, because SSH keep-alives find dead hosts
//   - UseKeychain of Apple's ssh, on macOS
//   - keywords that ssh itself ignores, such as Protocol
package sshconfig
