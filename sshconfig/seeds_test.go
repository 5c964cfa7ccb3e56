package sshconfig

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seeds are configurations that ssh accepts or refuses.
var seeds = []string{
	"",
	"User x", "User=x", "User = x", "User==x", "= User x", `"User" x`, `User="x"y`, `"User" = x`, `Us"er x`, "  \tUser\tx  ",
	"User x#y # c", "User #", `User ""`, "User", "User x\r", "User x\f", "User\fx", "User x\x00y", "Foo", "Foo bar",
	`User a\ b`, `User a\nb`, `User "a\ b"`, `User a'b"c'd`, `User "x`, `User 'x`, `User "a\"b"`, `User \\`, "User a b",
	"Port 22", "Port 0", "Port 65536", "Port ssh", "Port 0x16", "Port -1", "Port 22x", "Port +22", "Port 22 23", "Port no-such-service",
	"ConnectTimeout 1h30m", "ConnectTimeout 1h30", "ConnectTimeout 1hh", "ConnectTimeout none", "ConnectTimeout -1", "ConnectTimeout m",
	"ConnectTimeout 9999999999", "ConnectTimeout 3550w", "ConnectTimeout 1.5",
	"ConnectionAttempts 0", "ConnectionAttempts -1", "ConnectionAttempts 9999999999", "ServerAliveCountMax 08",
	"ProxyCommand foo \"bar baz\" # not  ", "ProxyCommand = x =", "ProxyCommand \"x", "ProxyCommand #x", "ProxyCommand none\nProxyJump x",
	"ProxyJump none\nProxyCommand x", "ProxyCommand x\nProxyJump y", "ProxyJump y\nProxyCommand x",
	"ProxyJump a,b@c:22,ssh://d@e:3 # x", "ProxyJump foo", "ProxyJump a,foo", "ProxyJump foo,a", "ProxyJump foo:23", "ProxyJump ,a", "ProxyJump a,",
	"ProxyJump a:99999", "ProxyJump @a", "ProxyJump a@b@c", "ProxyJump [::1]:22", "ProxyJump ::1", "ProxyJump [::1", "ProxyJump a, b", "ProxyJump",
	"User x\nProxyJump foo", "Port 23\nProxyJump foo", "HostName bar\nProxyJump bar", "HostName bar\nProxyJump foo",
	"HostName x%h", "HostName x%n", "HostName %", "HostName %%", "HostName FOO.Bar", `HostName "a b"`, "HostName a b",
	"IdentityFile none", "IdentityFile a\nIdentityFile a\nIdentityFile b", "IdentityFile a b", `IdentityFile "a b"`,
	"Host Foo\nUser u", "Host *\nUser u", "Host foo !f*\nUser u", "Host", `Host "" foo`, "Host \"foo\"\nUser u", "Host f?? # c\nUser u",
	"Match host FOO\nUser u", "Match", "Match user", "Match host foo user", "Match host=foo\nUser a", "Match host = foo\nUser a", "Match host =foo\nUser a",
	"Match all host foo", "Match host foo all\nUser a", "Match final host foo all", "Match !host bar\nUser u", "Match ! host bar", "Match bogus x",
	"Match final all\nUser u", "Match !final all\nUser u", "Match canonical all\nUser u", "Match !all\nUser u", "Match host foo # c\nUser u",
	"Match exec true\nUser u", "Match exec false\nUser u", "Match exec \"exit 3\"\nUser u", "Match exec \"kill -9 $$\"\nUser u", "Match exec %z\nUser u", "Match exec",
	"Match host bar exec %z\nUser u", "Match all # c\nUser u", "MATCH HOST foo\nUser u", "Match host foo,bar\nUser u", "Match host !foo,*\nUser u",
	"HostName bar\nMatch final\nHost bar\nPort 3\nHost foo\nUser fu", "HostName bar\nMatch host bar\nUser u", "User a\nMatch user a\nPort 3",
	"Tag", "SetEnv A=b C=\"d e\"\nSetEnv D=x", "SetEnv A=b A=c", "SetEnv A", "SetEnv =x", "SendEnv A B*\nSendEnv C\nSendEnv -B*",
	"UserKnownHostsFile a ~/b %h ${HOME}/x", "UserKnownHostsFile none", "UserKnownHostsFile a none", `UserKnownHostsFile "" a`,
	"UserKnownHostsFile ${NO_SUCH_VARIABLE}", "UserKnownHostsFile %z", "UserKnownHostsFile %", "ControlPath ~/a%h${HOME}", "ControlPath none", "ControlPath ${",
	"IgnoreUnknown f*\nFoo bar", "Foo bar\nIgnoreUnknown f*", "IgnoreUnknown x*,FOO\nFoo", "IgnoreUnknown f*\nFoo \"", "Host bar\nIgnoreUnknown f*\nFoo 5",
	"IgnoreUnknown g\nIgnoreUnknown f*\nFoo bar", "Host bar\nFoo 5", "Protocol 2", "Cipher x\nUseRoaming no",
	"Ciphers -aes*,foo", "Ciphers ^aes256-ctr", "Ciphers aes128-ctr,aes128-ctr", "Ciphers aes128-ctr,,aes256-ctr", "Ciphers +aes128-cbc", "Ciphers -*",
	"StrictHostKeyChecking YES", "StrictHostKeyChecking accept-new", "StrictHostKeyChecking maybe", "BatchMode 1", "AddressFamily INET", "AddressFamily ipv4",
	"PubkeyAuthentication host-bound", "CanonicalizeHostname maybe", "CanonicalizeMaxDots x", "IdentityAgent $X", "IdentityAgent ~/x", "IdentityAgent none",
	"HostName 127.1", "HostName 123", "HostName 0x7f.1", "HostName 1.2.3.4.5", "HostName 0::0:1", "HostName 256.1.1.1", "HostName 08.1.1.1", "HostName 010.1.1.1",
	"HostName 1.", "HostName 0b1.1", "HostName 1_0.1",
	"Include no-such-file*", "Include",
}

// TestSeeds compares each seed with ssh.
func TestSeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, seed := range seeds {
		path := filepath.Join(dir, "config")
		if err := os.WriteFile(path, []byte(seed+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if text := difference(t, path, "foo"); text != "" {
			t.Errorf("seed %d, %q: %s", i, seed, text)
		}
	}
}

// TestAliases compares with ssh which names are refused, and how addresses are written.
func TestAliases(t *testing.T) {
	t.Parallel()
	for _, alias := range []string{
		"foo", "FOO", "127.1", "0::0:1", "fe80::1", "123", "a_b", "ü", "a*b", "a~b", "a!b", "a#b", "a=b", "a/b", "a?b", "a%b", "a.",
		"a'b", "a;b", "a b", "a$b", "a,b", "-a", `a\b`, "a\tb", "a(b",
	} {
		compare(t, "none", alias)
	}
}

// TestOptions compares with ssh which options are accepted.
func TestOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte("User file\nPort 5\nIdentityFile /b\nFoo bar\nMatch user opt\nHostName h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{
		nil, {"IgnoreUnknown=foo"}, {"IgnoreUnknown=foo", "User=opt"}, {"IgnoreUnknown foo", "User opt", "User two"},
		{"IgnoreUnknown=foo", "IdentityFile=/a", "IdentityFile=/b"}, {"IgnoreUnknown=foo", "Host x"}, {"IgnoreUnknown=foo", "Include x"},
		{"IgnoreUnknown=foo", "Match all"}, {"IgnoreUnknown=foo", "Port"}, {"IgnoreUnknown=foo", "User=a;b"}, {"IgnoreUnknown=foo", "User=-b"},
		{"IgnoreUnknown=foo", `User=a\\`}, {"IgnoreUnknown=foo", `User=a\\b`}, {"IgnoreUnknown=foo", `User="a -b"`}, {"IgnoreUnknown=foo", "ProxyJump=gw"},
	} {
		compare(t, config, "foo", options...)
	}
}

// nowhere is a Resolver that knows no names.
type nowhere struct{}

func (nowhere) LookupHost(context.Context, string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}
func (nowhere) LookupCNAME(context.Context, string) (string, error) {
	return "", &net.DNSError{Err: "no such host", IsNotFound: true}
}

// FuzzResolve resolves a host in arbitrary configurations.
func FuzzResolve(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed, "foo")
	}
	f.Add("CanonicalizeHostname yes\nCanonicalDomains a b\nCanonicalizePermittedCNAMEs *:*", "foo")
	f.Add("Match localnetwork 10.0.0.0/8,!::1 tagged x sessiontype exec version x command y\nTag z", "foo")
	l, err := newLocal()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, alias string) {
		if strings.Contains(strings.ToLower(text), "include") {
			return // it would read files of this machine
		}
		r := &reader{local: l}
		u, err := r.text(text, "config", true, 0)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.File != "config" || e.Line == 0 {
				t.Fatalf("%v names no line", err)
			}
			return
		}
		file, err := l.load([]string{"none"})
		if err != nil {
			t.Fatal(err)
		}
		file.Resolver = nowhere{}
		file.execs.run = func(_ context.Context, line string) (bool, error) { return len(line)%2 == 0, nil }
		file.files = []*parsedFile{u}
		file.take(r)
		first, err := file.Resolve(alias, "")
		if err != nil {
			return
		}
		again, err := file.Resolve(alias, "")
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		a, b := first.All(), again.All()
		for i := range a {
			if a[i] != b[i] {
				t.Errorf("%v, and the second time %v", a[i], b[i])
			}
		}
		for _, l := range u.sections {
			for _, l := range l.lines {
				if l.key != nil && strings.Contains(strings.Join(l.values, ""), "\n") {
					t.Errorf("%q holds a line end", l.values)
				}
			}
		}
	})
}
