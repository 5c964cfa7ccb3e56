package sshconfig_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"fleetssh"
)

func newKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// knownFile writes a known_hosts file with one host.
func knownFile(t *testing.T, host string, key ssh.PublicKey) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(path, []byte(knownhosts.Line([]string{host}, key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func policyOf(t *testing.T, text string) fleetssh.HostKeyPolicy {
	t.Helper()
	return host(t, load(t, text), "web", fleetssh.HostConfig{}).HostKeys
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	old, other := newKey(t), newKey(t)
	file, global := knownFile(t, "web", old), knownFile(t, "db", old)
	files := "UserKnownHostsFile /no/such/file " + file + "\nGlobalKnownHostsFile " + global + "\n"
	if policyOf(t, "StrictHostKeyChecking ask\n") != nil {
		t.Error("the default is not that of fleetssh")
	}
	strict := policyOf(t, files)
	if strict.Check("web", 22, old) != nil || strict.Check("db", 22, old) != nil {
		t.Error("what is known is refused")
	}
	if strict.Check("new", 22, old) == nil || strict.Check("web", 22, other) == nil {
		t.Error("what is not known is trusted")
	}
	for _, mode := range []string{"accept-new", "no"} {
		added := filepath.Join(t.TempDir(), "new")
		p := policyOf(t, "StrictHostKeyChecking "+mode+"\nUserKnownHostsFile "+added+" "+file+"\nGlobalKnownHostsFile "+global+"\n")
		if p.Check("web", 22, other) == nil || p.Check("db", 22, other) == nil {
			t.Errorf("%s: a key that has changed is trusted", mode)
		}
		if p.Check("db", 22, old) != nil || p.Check("new", 22, old) != nil || p.Check("new", 22, old) != nil {
			t.Errorf("%s: a new host is refused", mode)
		}
		if p.Check("new", 22, other) == nil {
			t.Errorf("%s: the key of a new host may change", mode)
		}
		if text, _ := os.ReadFile(added); strings.Count(string(text), "\n") != 1 || !strings.HasPrefix(string(text), "new ") {
			t.Errorf("%s: the file holds %q", mode, text)
		}
	}
	for _, nowhere := range []string{"none", "/dev/null"} {
		p := policyOf(t, "StrictHostKeyChecking no\nUserKnownHostsFile "+nowhere+"\nGlobalKnownHostsFile "+global+"\n")
		if p.Check("new", 22, old) != nil || p.Check("db", 22, other) == nil {
			t.Errorf("%s: a new host is refused, or a changed one is not", nowhere)
		}
	}
	if p := policyOf(t, "UserKnownHostsFile none\nGlobalKnownHostsFile none\n"); p.Check("web", 22, old) == nil {
		t.Error("without files everybody is trusted")
	}
}

// TestHostKeysShared checks that files are read once for all hosts.
func TestHostKeysShared(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	f := load(t, "Host a b\n UserKnownHostsFile "+knownFile(t, "a", key)+"\nHost c\n UserKnownHostsFile /%h\n")
	a, b, c := host(t, f, "a", fleetssh.HostConfig{}), host(t, f, "b", fleetssh.HostConfig{}), host(t, f, "c", fleetssh.HostConfig{})
	if a.HostKeys != b.HostKeys || a.HostKeys == c.HostKeys {
		t.Error("hosts with the same files do not share a policy, or others do")
	}
	given := fleetssh.InsecureIgnoreHostKeys{}
	if h := host(t, f, "a", fleetssh.HostConfig{HostKeys: given}); h.HostKeys != given {
		t.Error("a given policy does not win")
	}
}

// TestUnreadableKnownHosts checks that an unreadable file does not affect other files.
func TestUnreadableKnownHosts(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for _, mode := range []string{"yes", "accept-new", "no"} {
		p := policyOf(t, "StrictHostKeyChecking "+mode+"\nUserKnownHostsFile "+t.TempDir()+" "+knownFile(t, "web", key)+"\nGlobalKnownHostsFile none\n")
		if err := p.Check("web", 22, key); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		err := p.Check("new", 22, key)
		if trusted := mode == "no"; (err == nil) != trusted {
			t.Errorf("%s: a new host: %v", mode, err)
		}
		if err != nil && !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("%s: it does not say why: %v", mode, err)
		}
	}
}

func TestHashedHosts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new")
	p := policyOf(t, "StrictHostKeyChecking accept-new\nHashKnownHosts yes\nUserKnownHostsFile "+file+"\nGlobalKnownHostsFile none\n")
	if err := p.Check("web", 22, newKey(t)); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); !strings.HasPrefix(string(text), "|1|") {
		t.Errorf("the file holds %q", text)
	}
}
