package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

func TestSSHDTrust(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	ca, stranger := sshdtest.NewCA(t), sshdtest.NewKey(t, sshdtest.KindED25519).Public()
	certified, certifiedHost := fleettest.StartSSHD(t, sshdtest.Options{HostCA: ca, HostPrincipals: []string{"127.0.0.1", "localhost"}})
	misnamed, misnamedHost := fleettest.StartSSHD(t, sshdtest.Options{HostCA: ca, HostPrincipals: []string{"other.example"}})
	onlyRSA, onlyRSAHost := fleettest.StartSSHD(t, sshdtest.Options{HostKeys: []string{sshdtest.KindRSA}})
	marked := func(marker string, names string, keys ...ssh.PublicKey) []string {
		lines := fleettest.KnownLines(names, keys...)
		for i := range lines {
			lines[i] = marker + " " + lines[i]
		}
		return lines
	}
	join := func(all ...[]string) (lines []string) {
		for _, l := range all {
			lines = append(lines, l...)
		}
		return lines
	}
	raw := func(names string, key ssh.PublicKey) []string {
		return []string{names + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))}
	}
	ed, ec, rsa := s.HostKey(sshdtest.KindED25519), s.HostKey(sshdtest.KindECDSA), s.HostKey(sshdtest.KindRSA)
	hashed := []string{knownhosts.HashHostname(s.Address()) + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(rsa)))}
	for _, test := range []struct {
		name    string
		lines   []string
		host    fleetssh.HostConfig
		refused bool
		alias   string // of localhost, used as the address
	}{
		{name: "empty file", refused: true},
		{name: "all key types", lines: fleettest.KnownLines(s.Address(), ed, ec, rsa)},
		{name: "only ed25519", lines: fleettest.KnownLines(s.Address(), ed)},
		{name: "only ecdsa", lines: fleettest.KnownLines(s.Address(), ec)},
		{name: "only rsa", lines: fleettest.KnownLines(s.Address(), rsa)},
		{name: "hashed name and port", lines: hashed},
		{name: "name without port", lines: raw("127.0.0.1", ec)},
		{name: "hashed name without port", lines: raw(knownhosts.HashHostname("127.0.0.1"), ec)},
		{name: "list of names", lines: raw("web1,127.0.0.1,web2", ec)},
		{name: "pattern", lines: raw("127.0.*.?", rsa)},
		{name: "negated", lines: raw("127.0.0.*,!127.0.0.1", ed), refused: true},
		{name: "another port", lines: raw(fmt.Sprintf("[127.0.0.1]:%d", s.Port+1), ed), refused: true},
		{name: "upper case", lines: raw(strings.ToUpper("[LocalHost]:")+strconv.Itoa(s.Port), ed), alias: "localhost"},
		{name: "changed key", lines: fleettest.KnownLines(s.Address(), stranger), refused: true},
		{name: "one of two keys is right", lines: join(fleettest.KnownLines(s.Address(), stranger), fleettest.KnownLines(s.Address(), ed))},
		{name: "revoked", lines: join(marked("@revoked", "*", ed), fleettest.KnownLines(s.Address(), ed)), refused: true},
		{name: "another key revoked", lines: join(marked("@revoked", "*", stranger), fleettest.KnownLines(s.Address(), ed))},
		{name: "one key revoked, another known", lines: join(marked("@revoked", "*", ed), fleettest.KnownLines(s.Address(), rsa))},
		{name: "garbage around", lines: join([]string{"garbage", "# comment", "", "127.0.0.1 ssh-foo AAAA", "@nonsense * x y", "127.0.0.1 1024 35 1234"}, fleettest.KnownLines(s.Address(), ec))},
		{name: "authority", lines: marked("@cert-authority", certified.Address(), ca.Public()), host: certifiedHost},
		{name: "authority for the plain name", lines: marked("@cert-authority", "127.0.0.1", ca.Public()), host: certifiedHost},
		{name: "authority for all", lines: marked("@cert-authority", "*", ca.Public()), host: certifiedHost},
		{name: "another authority", lines: marked("@cert-authority", "*", stranger), host: certifiedHost, refused: true},
		{name: "authority for others", lines: marked("@cert-authority", "*.example", ca.Public()), host: certifiedHost, refused: true},
		{name: "revoked authority", lines: join(marked("@cert-authority", "*", ca.Public()), marked("@revoked", "*", ca.Public())), host: certifiedHost, refused: true},
		{name: "the plain key of a certified host", lines: fleettest.KnownLines(certified.Address(), certified.HostKey(sshdtest.KindECDSA)), host: certifiedHost},
		{name: "authority as a host key", lines: fleettest.KnownLines(certified.Address(), ca.Public()), host: certifiedHost, refused: true},
		{name: "certificate for another name", lines: marked("@cert-authority", "*", ca.Public()), host: misnamedHost, refused: true},
		{name: "certificate for another name, key known", lines: join(marked("@cert-authority", "*.example", ca.Public()), fleettest.KnownLines(misnamed.Address(), ed)), host: misnamedHost},
		{name: "server without the known key type", lines: fleettest.KnownLines(onlyRSA.Address(), stranger), host: onlyRSAHost, refused: true},
		{name: "server without one of the known key types", lines: fleettest.KnownLines(onlyRSA.Address(), stranger, onlyRSA.HostKey(sshdtest.KindRSA)), host: onlyRSAHost},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := test.host
			if to.Host == "" {
				to = host
			}
			if test.alias != "" {
				to.Host, to.AddressFamily = test.alias, "ip4"
			}
			to.HostKeys = fleettest.Trust(t, test.lines...)
			if !test.refused {
				fleettest.Dial(t, to)
				return
			}
			e := fleettest.DialFails[*fleetssh.HostKeyError](t, to)
			fleettest.Equal(t, "host and port", fmt.Sprint(e.Host, e.Port), fmt.Sprint(to.Host, to.Port))
			if e.Key == nil {
				t.Error("the error does not have the key")
			}
		})
	}
	if strings.Contains(s.Log()+certified.Log()+misnamed.Log()+onlyRSA.Log(), "Failed") {
		t.Error("credentials were offered to a server that is not trusted")
	}
}

func TestSSHDTrustAcceptNew(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	file := filepath.Join(t.TempDir(), "sub", "known_hosts")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	strict := func() fleetssh.HostKeyPolicy {
		t.Helper()
		policy := &fleetssh.KnownHosts{Files: []string{file}}
		return policy
	}
	acceptNew := func() fleetssh.HostKeyPolicy {
		t.Helper()
		policy := &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AddUnknown}
		return policy
	}
	host.HostKeys = acceptNew()
	fleettest.Dial(t, host)
	fleettest.Dial(t, host)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "lines after two connections", strings.Count(string(data), "\n"), 1)
	host.HostKeys = strict()
	fleettest.Dial(t, host)
	host.HostKeys = acceptNew()
	fleettest.Dial(t, host)

	t.Run("read by OpenSSH", func(t *testing.T) {
		key := filepath.Join(t.TempDir(), "id")
		k := sshdtest.NewKey(t, sshdtest.KindED25519)
		k.Write(t, key, "")
		user := sshdtest.CurrentUser(t)
		s.Authorize(t, user, k.Public(), host.Auth.Signers[0].PublicKey())
		out, err := exec.CommandContext(fleettest.Soon(t), "ssh", "-F", "none", "-o", "UserKnownHostsFile="+file, "-o", "GlobalKnownHostsFile=none",
			"-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-i", key,
			"-p", strconv.Itoa(s.Port), user+"@"+s.Host, "echo", "hello").CombinedOutput()
		if err != nil || string(out) != "hello\n" {
			t.Errorf("ssh: %v: %s", err, out)
		}
	})
	t.Run("changed key", func(t *testing.T) {
		stranger := sshdtest.NewKey(t, sshdtest.KindED25519).Public()
		if err := os.WriteFile(file, []byte(fleettest.KnownLines(s.Address(), stranger)[0]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		host.HostKeys = acceptNew()
		e := fleettest.DialFails[*fleetssh.HostKeyError](t, host)
		fleettest.Contains(t, e.Error(), file+":1")
		data, _ := os.ReadFile(file)
		fleettest.Equal(t, "lines", strings.Count(string(data), "\n"), 1)
		host.HostKeys = strict()
		fleettest.DialFails[*fleetssh.HostKeyError](t, host)
	})
	t.Run("revoked key", func(t *testing.T) {
		line := "@revoked * " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.HostKey(sshdtest.KindED25519))))
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		host.HostKeys = acceptNew()
		fleettest.DialFails[*fleetssh.HostKeyError](t, host)
	})
	t.Run("insecure", func(t *testing.T) {
		host.HostKeys = fleetssh.InsecureIgnoreHostKeys{}
		fleettest.Dial(t, host)
	})
}

// Many goroutines with two policies add to one file at the same time.
func TestSSHDTrustAcceptNewAtOnce(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	file := filepath.Join(t.TempDir(), "known_hosts")
	var hosts []fleetssh.HostConfig
	for range 4 {
		addresses := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"}
		_, host := fleettest.StartSSHD(t, sshdtest.Options{Addresses: addresses})
		hosts = append(hosts, fleetssh.Hosts(host, addresses...)...)
	}
	var policies [2]fleetssh.HostKeyPolicy
	for i := range policies {
		policies[i] = &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AddUnknown}
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			host := hosts[i%len(hosts)]
			host.HostKeys = policies[i/len(hosts)%2]
			c, err := fleetssh.Dial(fleettest.Soon(t), host)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	policy := &fleetssh.KnownHosts{Files: []string{file}}
	for _, host := range hosts {
		host.HostKeys = policy
		fleettest.Dial(t, host)
	}
	if len(lines) < len(hosts) || len(lines) > 2*len(hosts) {
		t.Errorf("%d lines for %d hosts", len(lines), len(hosts))
	}
	if left, _ := filepath.Glob(file + "?*"); len(left) > 1 {
		t.Errorf("files left next to known_hosts: %v", left)
	}
}

// Weak algorithms are offered only if they are named.
func TestSSHDTrustWeakAlgorithms(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, test := range []struct {
		name, config string
		algorithms   fleetssh.Algorithms
		text         string
	}{
		{"SHA-1 key exchange", "KexAlgorithms diffie-hellman-group14-sha1", fleetssh.Algorithms{KeyExchanges: []string{"diffie-hellman-group14-sha1"}}, "key exchange"},
		{"SHA-1 MAC", "Ciphers aes128-ctr\nMACs hmac-sha1", fleetssh.Algorithms{MACs: []string{"hmac-sha1"}}, "MAC"},
		{"CBC", "Ciphers aes128-cbc", fleetssh.Algorithms{Ciphers: []string{"aes128-cbc"}}, "cipher"},
		{"SHA-1 host key", "HostKeyAlgorithms ssh-rsa", fleetssh.Algorithms{HostKeys: []string{"ssh-rsa"}}, "host key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{test.config}})
			e := fleettest.DialFails[*fleetssh.ConnectionError](t, host)
			fleettest.Equal(t, "phase", e.Phase, "handshake")
			fleettest.Equal(t, "attempts", e.Attempts, 1)
			fleettest.Contains(t, e.Error(), test.text)
			host.Algorithms = &test.algorithms
			fleettest.Equal(t, "output", fleettest.Output(t, fleettest.Dial(t, host), "echo weak"), "weak\n")
		})
	}
	t.Run("strong algorithms", func(t *testing.T) {
		for _, line := range []string{
			"KexAlgorithms curve25519-sha256", "KexAlgorithms ecdh-sha2-nistp521", "KexAlgorithms diffie-hellman-group16-sha512", "KexAlgorithms diffie-hellman-group-exchange-sha256",
			"Ciphers chacha20-poly1305@openssh.com", "Ciphers aes256-gcm@openssh.com", "Ciphers aes192-ctr",
			"Ciphers aes256-ctr\nMACs hmac-sha2-512-etm@openssh.com", "Ciphers aes256-ctr\nMACs hmac-sha2-256",
			"HostKeyAlgorithms rsa-sha2-256", "HostKeyAlgorithms ecdsa-sha2-nistp256",
		} {
			_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{line}})
			fleettest.Equal(t, line, fleettest.Output(t, fleettest.Dial(t, host), "echo strong"), "strong\n")
		}
	})
}

// If a policy cannot read a file, this is reported before any host is contacted, and for hops too.
// Only the file to which new hosts are added may be missing.
func TestKnownHostsUnreadable(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "known_hosts")
	for name, test := range map[string]struct {
		policy *fleetssh.KnownHosts
		good   bool
	}{
		"missing":                {&fleetssh.KnownHosts{Files: []string{missing}}, false},
		"missing, skipped":       {&fleetssh.KnownHosts{Files: []string{missing}, SkipUnreadable: true}, true},
		"to be created":          {&fleetssh.KnownHosts{Files: []string{missing}, Unknown: fleetssh.AddUnknown}, true},
		"missing, AddTo another": {&fleetssh.KnownHosts{Files: []string{missing}, Unknown: fleetssh.AddUnknown, AddTo: os.DevNull}, false},
		"a directory":            {&fleetssh.KnownHosts{Files: []string{t.TempDir()}, Unknown: fleetssh.AddUnknown}, false},
		"default files":          {new(fleetssh.KnownHosts), true},
	} {
		if err := test.policy.Load(); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
		dialed := 0
		direct := fleetssh.HostConfig{Host: "web1", HostKeys: test.policy, Attempts: 1, DialContext: func(context.Context, string, string) (net.Conn, error) {
			dialed++
			return nil, errors.New("no way")
		}}
		behind := fleetssh.HostConfig{Host: "web2", HostKeys: fleetssh.InsecureIgnoreHostKeys{}, Proxy: &direct, Attempts: 1}
		for _, host := range []fleetssh.HostConfig{direct, behind} {
			_, err := fleetssh.Dial(fleettest.Soon(t), host)
			if e, ok := errors.AsType[*fleetssh.ConfigError](err); ok == test.good || ok && (!strings.HasSuffix(e.Field, "HostKeys") || !errors.Is(err, test.policy.Load())) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if dialed > 0 != test.good {
			t.Errorf("%s: %d hosts were contacted", name, dialed)
		}
	}
}

// Hosts with the same policy add a key that they share once, whichever host connects first.
func TestKnownHostsShared(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{HostKeys: []string{sshdtest.KindED25519}})
	file := filepath.Join(t.TempDir(), "known_hosts")
	base := host
	base.HostKeys = &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AddUnknown, Hash: true}
	hosts := make([]fleetssh.HostConfig, 20)
	for i := range hosts {
		hosts[i] = base
	}
	p := fleettest.NewFleet(t, hosts...)
	if err := p.Connect(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 1 || !strings.HasPrefix(string(text), "|1|") {
		t.Errorf("%q, %v", text, err)
	}
}
