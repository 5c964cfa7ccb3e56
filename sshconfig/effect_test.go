package sshconfig_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/sshconfig"
)

// effects are lines for each keyword with an effect, together with the lines that they need to
// have it. Keywords that narrow are in narrowing.
var effects = map[string]struct{ without, with string }{
	"BatchMode":                   {with: "BatchMode yes"},
	"BindAddress":                 {"BindInterface lo", "BindAddress 127.0.0.9"},
	"BindInterface":               {with: "BindInterface lo"},
	"CanonicalDomains":            {"CanonicalizeHostname yes", "CanonicalDomains example.org"},
	"CanonicalizeFallbackLocal":   {"CanonicalizeHostname yes\nCanonicalDomains nowhere", "CanonicalizeFallbackLocal no"},
	"CanonicalizeHostname":        {"CanonicalDomains example.org", "CanonicalizeHostname yes"},
	"CanonicalizeMaxDots":         {"CanonicalizeHostname yes\nCanonicalDomains example.org", "CanonicalizeMaxDots 0"},
	"CanonicalizePermittedCNAMEs": {"CanonicalizeHostname yes\nCanonicalDomains example.org", "CanonicalizePermittedCNAMEs *:*"},
	"CertificateFile":             {with: "CertificateFile /c"},
	"ClearAllForwardings":         {"LocalForward 80 x:80", "ClearAllForwardings yes"},
	"ConnectTimeout":              {with: "ConnectTimeout 5"},
	"ConnectionAttempts":          {with: "ConnectionAttempts 7"},
	"ControlPath":                 {with: "ControlPath /socket"},
	"ForwardAgent":                {"IdentityAgent /agent", "ForwardAgent /agent"},
	"GlobalKnownHostsFile":        {with: "GlobalKnownHostsFile /g"},
	"GSSAPIAuthentication":        {with: "GSSAPIAuthentication yes"},
	"GSSAPIClientIdentity":        {"GSSAPIAuthentication yes", "GSSAPIClientIdentity alice"},
	"GSSAPIDelegateCredentials":   {"GSSAPIAuthentication yes", "GSSAPIDelegateCredentials yes"},
	"GSSAPIServerIdentity":        {"GSSAPIAuthentication yes", "GSSAPIServerIdentity x"},
	"HostKeyAlias":                {with: "HostKeyAlias other"},
	"HostName":                    {with: "HostName other"},
	"IdentityAgent":               {with: "IdentityAgent /agent"},
	"IdentityFile":                {with: "IdentityFile /k"},
	"IgnoreUnknown":               {"Foo x", "IgnoreUnknown foo"},
	"KnownHostsCommand":           {with: "KnownHostsCommand /bin/true"},
	"PermitLocalCommand":          {"LocalCommand true", "PermitLocalCommand yes"},
	"Port":                        {with: "Port 23"},
	"ProxyCommand":                {with: "ProxyCommand nc %h %p"},
	"ProxyJump":                   {with: "ProxyJump gate"},
	"ProxyUseFdpass":              {"ProxyCommand ssh -F none -W %h:%p gate", "ProxyUseFdpass yes"}, // then it is not a hop
	"SendEnv":                     {with: "SendEnv PATH"},
	"ServerAliveCountMax":         {"ServerAliveInterval 30", "ServerAliveCountMax 1"},
	"ServerAliveInterval":         {with: "ServerAliveInterval 30"},
	"SetEnv":                      {with: "SetEnv A=b"},
	"Tag":                         {"Match tagged x\nUser tagged\nMatch all", "Tag x"},
	"User":                        {with: "User somebody"},
	"UserKnownHostsFile":          {with: "UserKnownHostsFile /u"},
}

// elsewhere are keywords whose effect is not visible in a HostConfig.
var elsewhere = map[string]string{
	"HashKnownHosts": "TestHashKnownHosts",
}

// oneZone is a Resolver that knows one host.
type oneZone struct{}

func (oneZone) LookupHost(_ context.Context, name string) ([]string, error) {
	if name == "a.web.example.org" {
		return []string{"192.0.2.1"}, nil
	}
	return nil, errors.New("unknown")
}

func (oneZone) LookupCNAME(context.Context, string) (string, error) { return "real.example.net", nil }

// TestEffects checks that every applied keyword has an effect.
func TestEffects(t *testing.T) {
	t.Parallel()
	outcome := func(text string) string {
		f := load(t, text+"\n")
		f.Resolver = oneZone{}
		ask := func(context.Context, fleetssh.Question) (string, error) { return "", nil }
		h, s, err := f.HostContext(t.Context(), "a.web", fleetssh.HostConfig{Host: "a.web", Auth: fleetssh.Auth{Ask: ask}})
		if err != nil {
			return err.Error()
		}
		var notes []string
		for _, u := range s.Unsupported() {
			notes = append(notes, u.Keyword)
		}
		return values(h) + fmt.Sprint(notes)
	}
	for name := range strings.FieldsSeq(meanings[works]) {
		lines, ok := effects[name]
		switch {
		case ok:
		case elsewhere[name] == "":
			t.Errorf("%s: no line is tried", name)
			continue
		default:
			continue
		}
		if !strings.HasPrefix(lines.with, name+" ") {
			t.Errorf("%s: the line is %q", name, lines.with)
		}
		without, with := outcome(lines.without), outcome(lines.with+"\n"+lines.without)
		if without == with {
			t.Errorf("%s has no effect: %s", name, with)
		}
	}
}

// inManual are the keywords of ssh_config(5) of OpenSSH 10.0.
const inManual = `Host Match AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CanonicalDomains
	CanonicalizeFallbackLocal CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs CASignatureAlgorithms
	CertificateFile ChannelTimeout CheckHostIP Ciphers ClearAllForwardings Compression ConnectionAttempts ConnectTimeout
	ControlMaster ControlPath ControlPersist DynamicForward EnableEscapeCommandline EnableSSHKeysign EscapeChar
	ExitOnForwardFailure FingerprintHash ForkAfterAuthentication ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted
	GatewayPorts GlobalKnownHostsFile GSSAPIAuthentication GSSAPIDelegateCredentials HashKnownHosts
	HostbasedAcceptedAlgorithms HostbasedAuthentication HostKeyAlgorithms HostKeyAlias Hostname IdentitiesOnly IdentityAgent
	IdentityFile IgnoreUnknown Include IPQoS KbdInteractiveAuthentication KbdInteractiveDevices KexAlgorithms
	KnownHostsCommand LocalCommand LocalForward LogLevel LogVerbose MACs NoHostAuthenticationForLocalhost
	NumberOfPasswordPrompts ObscureKeystrokeTiming PasswordAuthentication PermitLocalCommand PermitRemoteOpen PKCS11Provider
	Port PreferredAuthentications ProxyCommand ProxyJump ProxyUseFdpass PubkeyAcceptedAlgorithms PubkeyAuthentication
	RefuseConnection RekeyLimit RemoteCommand RemoteForward RequestTTY RequiredRSASize RevokedHostKeys SecurityKeyProvider
	SendEnv ServerAliveCountMax ServerAliveInterval SessionType SetEnv StdinNull StreamLocalBindMask StreamLocalBindUnlink
	StrictHostKeyChecking SyslogFacility Tag TCPKeepAlive Tunnel TunnelDevice UpdateHostKeys User UserKnownHostsFile
	VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto XAuthLocation`

// TestManual checks that the table has every keyword of the manual page, and that the package
// comment says what fleetssh does with it.
func TestManual(t *testing.T) {
	t.Parallel()
	comment := packageComment(t)
	for name := range strings.FieldsSeq(inManual) {
		switch strings.ToLower(name) {
		case "host", "match", "include":
			continue
		}
		if sshconfig.MeaningOf(name) == "" {
			t.Errorf("%s is not in the table", name)
		}
		if !strings.Contains(strings.ToLower(comment), strings.ToLower(name)) {
			t.Errorf("%s is not in the package comment", name)
		}
	}
}

// TestHashKnownHosts checks that a new host is added with its name hashed.
func TestHashKnownHosts(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{"HashKnownHosts yes": "|1|", "": "web "} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		h := host(t, load(t, line+"\nStrictHostKeyChecking accept-new\nGlobalKnownHostsFile none\nUserKnownHostsFile "+file), "web", fleetssh.HostConfig{})
		if err := h.HostKeys.Check("web", 22, key); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: %q, %v", line, text, err)
		}
	}
}

// TestMacOS checks that UseKeychain is a keyword on macOS only.
func TestMacOS(t *testing.T) {
	t.Parallel()
	for system, want := range map[string]bool{"darwin": true, "linux": false, "windows": false} {
		if got := sshconfig.KnowsOn(system, "UseKeychain"); got != want {
			t.Errorf("%s: %v", system, got)
		}
	}
}
