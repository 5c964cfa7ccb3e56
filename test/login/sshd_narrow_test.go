package login

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/sshdtest"
)

// writeText writes a file into a directory of the test and returns its path.
func writeText(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	sshdtest.WriteProgram(t, path, text)
	return path
}

// RevokedHostKeys, MinRSABits and CASignatures apply under every policy, and to hops.
func TestSSHDNarrowHostKeys(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	ca := sshdtest.NewCA(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{HostCA: ca, HostPrincipals: []string{"127.0.0.1"}, HostKeys: []string{sshdtest.KindRSA}})
	plain := s.HostKey(sshdtest.KindRSA)
	stranger := sshdtest.NewKey(t, sshdtest.KindED25519).Public()
	list := func(keys ...ssh.PublicKey) []string {
		var text strings.Builder
		for _, key := range keys {
			text.Write(ssh.MarshalAuthorizedKey(key))
		}
		return []string{writeText(t, "revoked", text.String())}
	}
	byKey := fleettest.Trust(t, fleettest.KnownLines(s.Address(), plain)...)
	byCA := fleettest.Trust(t, "@cert-authority * "+string(ssh.MarshalAuthorizedKey(ca.Public())))
	insecure := fleetssh.InsecureIgnoreHostKeys{}
	added := &fleetssh.KnownHosts{Files: []string{filepath.Join(t.TempDir(), "known_hosts")}, Unknown: fleetssh.AddUnknown}
	noRSA := &fleetssh.Algorithms{CASignatures: []string{"rsa-sha2-512"}}
	withED := &fleetssh.Algorithms{CASignatures: []string{"rsa-sha2-512", "ssh-ed25519"}}
	for _, test := range []struct {
		name    string
		policy  fleetssh.HostKeyPolicy
		revoked []string
		names   *fleetssh.Algorithms
		refused string // text of the error; empty: the host is trusted
	}{
		{"no restriction", byKey, nil, nil, ""},
		{"another key revoked", byKey, list(stranger), nil, ""},
		{"key revoked", byKey, list(stranger, plain), nil, "revoked"},
		{"key revoked, in the second file", byKey, append(list(stranger), list(plain)...), nil, "revoked"},
		{"key revoked, new host", added, list(plain), nil, "revoked"},
		{"key revoked, insecure", insecure, list(plain), nil, "revoked"},
		{"authority revoked", byCA, list(ca.Public()), nil, "revoked"},
		{"key of a certificate revoked", byCA, list(plain), nil, "revoked"},
		{"no such file", byKey, []string{"/no/such/file"}, nil, "no such file"},
		{"no such file, insecure", insecure, []string{"/no/such/file"}, nil, "no such file"},
		{"a directory", insecure, []string{t.TempDir()}, nil, "is a directory"},
		{"not a list", insecure, []string{writeText(t, "list", "ssh-rsa nonsense\n")}, nil, "line 1"},
		{"empty list", byKey, list(), nil, ""},
		{"long enough", byKey, nil, &fleetssh.Algorithms{MinRSABits: rsaBits}, ""},
		{"too short", byKey, nil, &fleetssh.Algorithms{MinRSABits: rsaBits + 1}, "too weak"},
		{"too short, certificate", byCA, nil, &fleetssh.Algorithms{MinRSABits: rsaBits + 1}, "too weak"},
		{"too short, insecure", insecure, nil, &fleetssh.Algorithms{MinRSABits: rsaBits + 1}, "too weak"},
		{"authority", byCA, nil, withED, ""},
		{"signature algorithm of the authority not allowed", byCA, nil, noRSA, "not known"},
		{"signature algorithm not allowed, key known", byKey, nil, noRSA, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := host
			to.HostKeys, to.RevokedHostKeys, to.Algorithms = test.policy, test.revoked, test.names
			if test.refused == "" {
				fleettest.Dial(t, to)
				return
			}
			e := fleettest.DialFails[*fleetssh.HostKeyError](t, to)
			fleettest.Contains(t, e.Error(), test.refused)
			if e.Key == nil || e.Host != to.Host {
				t.Errorf("%+v", e)
			}
			behind := host
			behind.Proxy = &to
			hop := fleettest.DialFails[*fleetssh.ProxyError](t, behind)
			fleettest.Contains(t, hop.Error(), test.refused)
		})
	}
	if strings.Contains(s.Log(), "Failed") {
		t.Error("credentials were offered to a server that is not trusted")
	}
}

// rsaBits is the length of the RSA keys of sshdtest.
const rsaBits = 2048

// Keys that MinRSABits or UserKeys exclude are not offered, and the error says why.
func TestSSHDNarrowUserKeys(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	ca := sshdtest.NewCA(t)
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"TrustedUserCAKeys " + writeText(t, "ca", string(ssh.MarshalAuthorizedKey(ca.Public())))}})
	user := sshdtest.CurrentUser(t)
	rsa, ed := sshdtest.NewKey(t, sshdtest.KindRSA), sshdtest.NewKey(t, sshdtest.KindED25519)
	s.Authorize(t, user, rsa.Public(), ed.Public())
	certified := sshdtest.NewKey(t, sshdtest.KindED25519)
	certFile := filepath.Join(t.TempDir(), "cert")
	sshdtest.WriteCertificate(t, certFile, ca.SignUser(t, certified.Public(), sshdtest.Validity{}, user))
	certData, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		auth  fleetssh.Auth
		names fleetssh.Algorithms
		why   string // text of the error; empty: the login succeeds
	}{
		{"RSA", fleetssh.Auth{Signers: []ssh.Signer{rsa.Signer}}, fleetssh.Algorithms{MinRSABits: rsaBits}, ""},
		{"RSA too short", fleetssh.Auth{Signers: []ssh.Signer{rsa.Signer}}, fleetssh.Algorithms{MinRSABits: rsaBits + 1}, fmt.Sprintf("RSA with %d bits, where at least %d are required", rsaBits, rsaBits+1)},
		{"RSA too short, another key", fleetssh.Auth{Signers: []ssh.Signer{rsa.Signer, ed.Signer}}, fleetssh.Algorithms{MinRSABits: rsaBits + 1}, ""},
		{"an algorithm of RSA", fleetssh.Auth{Signers: []ssh.Signer{rsa.Signer}}, fleetssh.Algorithms{UserKeys: []string{"rsa-sha2-256"}}, ""},
		{"no algorithm of RSA", fleetssh.Auth{Signers: []ssh.Signer{rsa.Signer}}, fleetssh.Algorithms{UserKeys: []string{"ssh-ed25519"}}, "is not offered"},
		{"ed25519", fleetssh.Auth{Signers: []ssh.Signer{ed.Signer}}, fleetssh.Algorithms{UserKeys: []string{"ssh-ed25519"}}, ""},
		{"ed25519 certificates only", fleetssh.Auth{Signers: []ssh.Signer{ed.Signer}}, fleetssh.Algorithms{UserKeys: []string{"ssh-ed25519-cert-v01@openssh.com"}}, "is not offered"},
		{"certificate", fleetssh.Auth{Signers: []ssh.Signer{certified.Signer}, CertData: certData}, fleetssh.Algorithms{UserKeys: []string{"ssh-ed25519-cert-v01@openssh.com"}}, ""},
		{"certificate left out", fleetssh.Auth{Signers: []ssh.Signer{certified.Signer}, CertData: certData}, fleetssh.Algorithms{UserKeys: []string{"ssh-ed25519"}}, "ssh-ed25519-cert-v01@openssh.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := fleettest.HostConfig(t, s, user, test.auth)
			to.Algorithms = &test.names
			if test.why == "" {
				fleettest.Dial(t, to)
				return
			}
			fleettest.Contains(t, fleettest.DialFails[*fleetssh.AuthenticationError](t, to).Error(), test.why)
		})
	}
}

// Unknown names and impossible sizes are reported before the host is contacted.
func TestNarrowingNames(t *testing.T) {
	t.Parallel()
	for field, names := range map[string]*fleetssh.Algorithms{
		"HostConfig.Algorithms.UserKeys":     {UserKeys: []string{"rsa"}},
		"HostConfig.Algorithms.CASignatures": {CASignatures: []string{"ssh-*"}},
		"HostConfig.Algorithms.MoreHostKeys": {MoreHostKeys: []string{"x"}},
		"HostConfig.Algorithms.MinRSABits":   {MinRSABits: -1},
	} {
		e := fleettest.DialFails[*fleetssh.ConfigError](t, fleetssh.HostConfig{Host: "h", Algorithms: names})
		fleettest.Equal(t, "field", e.Field, field)
	}
}

// KnownHostsCommand lists host keys in addition to the files.
func TestSSHDKnownHostsCommand(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	lines := strings.Join(fleettest.KnownLines(s.Address(), s.HostKey(sshdtest.KindECDSA)), "\n")
	all := strings.Join(fleettest.KnownLines(s.Address(), fleettest.KeysOf(s)...), "\n")
	stranger := sshdtest.NewKey(t, sshdtest.KindED25519).Public()
	dir := t.TempDir()
	program := func(name, text string) string {
		path := filepath.Join(dir, name)
		sshdtest.WriteProgram(t, path, "#!/bin/sh\n"+text)
		return path
	}
	print := func(name, text string) string { return program(name, "cat <<'END'\n"+text+"\nEND\n") }
	ask := program("ask", "echo \"$*\" >>"+filepath.Join(dir, "asked")+"\n"+"cat <<'END'\n"+lines+"\nEND\n")
	nothing, other := fleettest.Trust(t, ""), fleettest.Trust(t, fleettest.KnownLines(s.Address(), stranger)...)
	newFile := filepath.Join(dir, "new")
	adds := &fleetssh.KnownHosts{Files: []string{newFile}, Unknown: fleetssh.AddUnknown}
	for _, test := range []struct {
		name    string
		policy  fleetssh.HostKeyPolicy
		command []string
		refused string
	}{
		{"listed", nothing, []string{ask, "%H", "%I", "%t", "%f", "100%%"}, ""},
		{"listed, another key in the file", other, []string{print("all", all)}, ""},
		{"listed, hosts are added", adds, []string{print("lines", lines)}, ""},
		{"nothing", nothing, []string{print("nothing", "")}, "not known"},
		{"another key", nothing, []string{print("changed", strings.Join(fleettest.KnownLines(s.Address(), stranger), "\n"))}, "has changed"},
		{"revoked", host.HostKeys, []string{print("revoked", "@revoked * "+strings.SplitN(all, " ", 2)[1])}, "revoked"},
		{"failing command", host.HostKeys, []string{program("fails", "echo no server >&2; exit 3\n")}, "exit status 3: no server"},
		{"missing command", host.HostKeys, []string{filepath.Join(dir, "missing")}, "no such file"},
		{"endless output", host.HostKeys, []string{program("floods", "exec cat /dev/zero\n")}, "more than 1 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := host
			to.HostKeys, to.KnownHostsCommand = test.policy, test.command
			if test.refused == "" {
				fleettest.Dial(t, to)
				return
			}
			if test.name == "revoked" { // makes sshd show the revoked key
				to.Algorithms = &fleetssh.Algorithms{HostKeys: []string{fleettest.KeysOf(s)[0].Type()}}
			}
			fleettest.Contains(t, fleettest.DialFails[*fleetssh.HostKeyError](t, to).Error(), test.refused)
		})
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	ec := s.HostKey(sshdtest.KindECDSA)
	fleettest.Equal(t, "asked", string(asked), fmt.Sprintf("%s ORDER NONE NONE 100%%\n%[1]s HOSTNAME %s %s 100%%\n", knownhostsName(s), ec.Type(), ssh.FingerprintSHA256(ec)))
	if _, err := os.Stat(newFile); !errors.Is(err, os.ErrNotExist) {
		t.Error("a key that the command lists was added to the file")
	}
	t.Run("interrupted", func(t *testing.T) {
		to := host
		to.KnownHostsCommand = []string{program("sleeps", "exec sleep 300\n")}
		sshdtest.Within(t, "it", 8*time.Second, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			if _, err := fleetssh.Dial(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	})
	t.Run("scan", func(t *testing.T) {
		to := addressOnly(s)
		to.KnownHostsCommand = []string{print("lines", lines), "%H"}
		shown := scan(t, to)[0]
		fleettest.Equal(t, "listed", string(shown.Listed), lines+"\n\n")
	})
	for _, test := range []struct {
		command []string
		policy  fleetssh.HostKeyPolicy
	}{
		{[]string{"lines"}, nil}, {[]string{"/bin/echo", "%q"}, nil}, {[]string{"/bin/echo", "%"}, nil}, {[]string{"/bin/echo"}, fleetssh.InsecureIgnoreHostKeys{}},
	} {
		e := fleettest.DialFails[*fleetssh.ConfigError](t, fleetssh.HostConfig{Host: "h", HostKeys: test.policy, KnownHostsCommand: test.command})
		fleettest.Equal(t, "field", e.Field, "HostConfig.KnownHostsCommand")
	}
}

func knownhostsName(s *sshdtest.Server) string { return fmt.Sprintf("[%s]:%d", s.Host, s.Port) }

// With CheckHostIP, a host is refused if another key is known for its address.
func TestSSHDCheckHostIP(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{HostKeys: []string{sshdtest.KindED25519}})
	key, stranger := s.HostKey(sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindED25519).Public()
	host.Host, host.AddressFamily, host.CheckHostIP = "localhost", "ip4", true
	byName, byAddress := fmt.Sprintf("localhost:%d", s.Port), s.Address()
	join := func(a, b []string) []string { return append(a, b...) }
	for _, test := range []struct {
		name    string
		lines   []string
		refused bool
	}{
		{"both", join(fleettest.KnownLines(byName, key), fleettest.KnownLines(byAddress, key)), false},
		{"name only", fleettest.KnownLines(byName, key), false},
		{"another key for the address", join(fleettest.KnownLines(byName, key), fleettest.KnownLines(byAddress, stranger)), true},
		{"address only", fleettest.KnownLines(byAddress, key), true},
	} {
		to := host
		to.HostKeys = fleettest.Trust(t, test.lines...)
		if !test.refused {
			fleettest.Dial(t, to)
			continue
		}
		fleettest.DialFails[*fleetssh.HostKeyError](t, to)
		to.CheckHostIP = false
		if test.name != "address only" {
			fleettest.Dial(t, to)
		}
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	var err error
	host.HostKeys = &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AddUnknown}
	fleettest.Dial(t, host)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "lines", strings.Count(string(text), "\n"), 2)
	fleettest.Contains(t, string(text), "[localhost]:", "[127.0.0.1]:")
}

// If known_hosts cannot be written, AddUnknown refuses a new host, and AddUnknownIfPossible
// connects, warns once, and remembers the key.
func TestSSHDUnwritableKnownHosts(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{HostKeys: []string{sshdtest.KindED25519}})
	file := filepath.Join(writeText(t, "not-a-directory", ""), "known_hosts") // not even root can create it
	for _, unknown := range []fleetssh.UnknownHosts{fleetssh.AddUnknown, fleetssh.AddUnknownIfPossible} {
		policy := &fleetssh.KnownHosts{Files: []string{file, t.TempDir()}, SkipUnreadable: true, Unknown: unknown}
		host.HostKeys = policy
		if unknown == fleetssh.AddUnknown {
			e := fleettest.DialFails[*fleetssh.HostKeyError](t, host)
			fleettest.Contains(t, e.Error(), "not known", "cannot be added", filepath.Dir(file))
			continue
		}
		c := fleettest.Dial(t, host)
		fleettest.Contains(t, strings.Join(c.Logins()[0].Warnings, "\n"), "was not added", filepath.Dir(file))
		fleettest.Equal(t, "warnings of the second login", len(fleettest.Dial(t, host).Logins()[0].Warnings), 0)
		stranger := sshdtest.NewKey(t, sshdtest.KindED25519).Public()
		var keyError *knownhosts.KeyError
		if err := policy.Check(s.Host, s.Port, stranger); !errors.As(err, &keyError) || keyError.Reason != knownhosts.Changed {
			t.Errorf("another key afterwards: %v", err)
		}
	}
}
