package sshconfig_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/sshconfig"
)

// meaning is what a keyword of ssh_config(5) means to fleetssh.
type meaning int

const (
	works   meaning = iota // it has its effect
	narrows                // it has its effect, and less is trusted or offered
)

// meanings are the meanings of the keywords with an effect. All other keywords are meaningless
// (ignored in the table) or reported as unsupported. A new keyword needs a meaning: one that
// narrows is tested in narrowing, and must be honoured, or the host must not be connected to.
var meanings = map[meaning]string{
	works: `BatchMode BindAddress BindInterface ClearAllForwardings PermitLocalCommand CanonicalDomains CanonicalizeFallbackLocal CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs
		CertificateFile ConnectTimeout ConnectionAttempts ControlPath ForwardAgent GlobalKnownHostsFile GSSAPIAuthentication
		GSSAPIClientIdentity GSSAPIDelegateCredentials GSSAPIServerIdentity HashKnownHosts HostKeyAlias HostName IdentityAgent IdentityFile
		IgnoreUnknown KnownHostsCommand Port ProxyCommand ProxyJump ProxyUseFdpass SendEnv ServerAliveCountMax
		ServerAliveInterval SetEnv Tag User UserKnownHostsFile`,
	narrows: `AddressFamily CASignatureAlgorithms CheckHostIP Ciphers HostKeyAlgorithms IdentitiesOnly KbdInteractiveAuthentication KexAlgorithms MACs
		PasswordAuthentication PreferredAuthentications PubkeyAcceptedAlgorithms PubkeyAuthentication RefuseConnection
		RequiredRSASize RSAMinSize RevokedHostKeys StrictHostKeyChecking`,
}

// narrowing are lines that narrow, and the fields that they narrow.
var narrowing = []struct{ line, effect string }{
	{"AddressFamily inet6", "AddressFamily: ip6; "},
	{"CASignatureAlgorithms ssh-ed25519", "CASignatures: [ssh-ed25519]; "},
	{"CASignatureAlgorithms -rsa*,ecdsa*,sk-*", "CASignatures: [ssh-ed25519]; "},
	{"CheckHostIP yes", "CheckHostIP: true; "},
	{"Ciphers aes256-ctr", "Ciphers: [aes256-ctr]; "},
	{"HostKeyAlgorithms ssh-ed25519", "HostKeys: [ssh-ed25519]; "},
	{"HostKeyAlgorithms ssh-ed2*", "HostKeys: [ssh-ed25519 ssh-ed25519-cert-v01@openssh.com]; "},
	{"HostKeyAlgorithms -ssh-ed25519", "NoHostKeys: [ssh-ed25519]; "},
	{"HostKeyAlgorithms +ssh-rsa", "MoreHostKeys: [ssh-rsa]; "},
	{"IdentitiesOnly yes", "IdentitiesOnly: true; "},
	{"KbdInteractiveAuthentication no", "Methods: [publickey password]; "},
	{"KexAlgorithms curve25519-sha256", "KeyExchanges: [curve25519-sha256]; "},
	{"MACs hmac-sha2-256", "MACs: [hmac-sha2-256]; "},
	{"PasswordAuthentication no", "Methods: [publickey keyboard-interactive]; "},
	{"PreferredAuthentications publickey", "Methods: [publickey]; "},
	{"PubkeyAcceptedAlgorithms ssh-ed25519", "UserKeys: [ssh-ed25519]; "},
	{"PubkeyAcceptedKeyTypes ssh-ed25519", "UserKeys: [ssh-ed25519]; "},
	{"PubkeyAcceptedAlgorithms ssh-rsa", "UserKeys: [ssh-rsa]; "},
	{"PubkeyAcceptedAlgorithms nobodys-algorithm", "error config:1: PubkeyAcceptedAlgorithms: no algorithm is left"},
	{"CASignatureAlgorithms nobodys-algorithm", "error config:1: CASignatureAlgorithms: no algorithm is left"},
	{"PubkeyAuthentication no", "Methods: [keyboard-interactive password]; "},
	{"RefuseConnection not today", "error config:1: RefuseConnection: not today"},
	{"RequiredRSASize 3072", "MinRSABits: 3072; "},
	{"RSAMinSize 3072", "MinRSABits: 3072; "},
	{"RevokedHostKeys /revoked/%h", "RevokedHostKeys: [/revoked/web]; "},
	{"RevokedHostKeys /one /two", "RevokedHostKeys: [/one /two]; "},
	{"StrictHostKeyChecking yes", "Host: web; "},
}

func TestNarrowing(t *testing.T) {
	t.Parallel()
	left := make(map[string]bool)
	for name := range strings.FieldsSeq(meanings[narrows]) {
		left[name] = true
	}
	for _, test := range narrowing {
		keyword, _, _ := strings.Cut(test.line, " ")
		delete(left, keyword)
		h, err := load(t, test.line+"\n").Host("web", fleetssh.HostConfig{Host: "web"})
		got := values(h)
		if e, ok := errors.AsType[*sshconfig.Error](err); ok {
			got = fmt.Sprintf("error %s:%d: %v", filepath.Base(e.File), e.Line, e.Err)
		}
		if !strings.Contains(got, test.effect) {
			t.Errorf("%s: %s, want %s", test.line, got, test.effect)
		}
	}
	for name := range left {
		t.Errorf("%s: no line is tried", name)
	}
}

// TestMeanings checks that every keyword has a meaning, and that the table has all keywords of ssh.
func TestMeanings(t *testing.T) {
	t.Parallel()
	known := make(map[string]meaning)
	for m, names := range meanings {
		for name := range strings.FieldsSeq(names) {
			known[strings.ToLower(name)] = m
		}
	}
	out, err := exec.Command("ssh", "-G", "-F", "none", "web").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out) {
		word, _, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if word != "host" && sshconfig.MeaningOf(word) == "" {
			t.Errorf("%s is not in the table", word)
		}
	}
	for _, k := range sshconfig.Keywords() {
		m, ok := known[strings.ToLower(k)]
		got := sshconfig.MeaningOf(k)
		if want := map[bool]string{true: "applied", false: got}[ok]; got != want || !ok && got == "applied" {
			t.Errorf("%s is %s in the table, and %v (%v) here", k, got, m, ok)
		}
	}
}
