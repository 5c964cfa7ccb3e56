package sshconfig_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"slices"
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
	given := fleetssh.InsecureIgnoreHostKeys()
	if h := host(t, f, "a", fleetssh.HostConfig{HostKeys: given}); h.HostKeys != given {
		t.Error("a given policy does not win")
	}
}

// TestHostKeyAlgorithms checks that what is known still comes first where the list
// only adds or takes away.
func TestHostKeyAlgorithms(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "known_hosts")
	const rsa = "AAAAB3NzaC1yc2EAAAADAQABAAAAgQDbcYYtIfzYz4nTyHzk1yRPPVjoqUVAUfvzXXLStSxOcfyPmOEsU1n1IrM0FZ2kzYQlRYFZ8WNM1yBDgvu7xhXOTQlWrB9kmmmOWYtGhs5dJpUZz6AZTgJ7PEQVCnQKHkHVwA8hH4KxFqjwC6cGYcTGqyzK2eEyhXdyjyYK1u8uGQ=="
	if err := os.WriteFile(file, []byte("web ssh-rsa "+rsa+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := "UserKnownHostsFile " + file + "\nGlobalKnownHostsFile none\n"
	for _, test := range []struct{ value, host, first string }{
		{"+ssh-rsa", "web", "rsa-sha2-512 rsa-sha2-256 ssh-rsa ssh-ed25519"},
		{"-rsa-sha2-512", "web", "rsa-sha2-256 ssh-ed25519"},
		{"+ssh-rsa", "new", "ssh-ed25519 ecdsa-sha2-nistp256"},
		{"-ssh-ed25519", "new", "ecdsa-sha2-nistp256 ecdsa-sha2-nistp384"},
	} {
		h := host(t, load(t, files+"HostKeyAlgorithms "+test.value+"\n"), "web", fleetssh.HostConfig{})
		list := h.HostKeys.Algorithms(test.host, 22)
		if first := strings.Fields(test.first); len(list) < len(first) || !slices.Equal(list[:len(first)], first) || h.Algorithms != nil {
			t.Errorf("%s: %s is asked for %v", test.value, test.host, list)
		}
	}
}
