package login

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// Identities replace the default files and select keys of the agent.
func TestSSHDIdentities(t *testing.T) {
	sshdtest.CheckLeaks(t)
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	user := sshdtest.CurrentUser(t)
	dir := filepath.Join(os.Getenv("HOME"), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	inAgent, inFile, locked := sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindECDSA), sshdtest.NewKey(t, sshdtest.KindED25519)
	for range 8 {
		a.Add(t, sshdtest.NewKey(t, sshdtest.KindED25519))
	}
	a.Add(t, inAgent, locked)
	if err := os.WriteFile(filepath.Join(dir, "agent.pub"), ssh.MarshalAuthorizedKey(inAgent.Public()), 0o600); err != nil {
		t.Fatal(err)
	}
	inFile.Write(t, filepath.Join(dir, "file"), "")
	locked.Write(t, filepath.Join(dir, "locked"), "a passphrase")
	for _, test := range []struct {
		name string
		auth fleetssh.Auth
		key  *sshdtest.Key
		want string // AuthenticationError.Tried, if the login fails
	}{
		{"public half of a key of the agent, first", fleetssh.Auth{Identities: []string{"~/keys/agent.pub"}}, inAgent, ""},
		{"public half, IdentitiesOnly", fleetssh.Auth{Identities: []string{"~/keys/agent.pub"}, IdentitiesOnly: true}, inAgent, ""},
		{"file", fleetssh.Auth{Identities: []string{"~/keys/missing", "~/keys/file"}, IdentitiesOnly: true}, inFile, ""},
		{"file without the agent", fleetssh.Auth{Identities: []string{"~/keys/file"}, NoAgent: true}, inFile, ""},
		{"encrypted file whose key the agent has", fleetssh.Auth{Identities: []string{"~/keys/locked"}, IdentitiesOnly: true}, locked, ""},
		{"IdentitiesOnly leaves out the agent's keys", fleetssh.Auth{Identities: []string{"~/keys/file"}, IdentitiesOnly: true}, inAgent, "publickey"},
		{"IdentitiesOnly without identities", fleetssh.Auth{IdentitiesOnly: true}, inAgent, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxAuthTries 2"}})
			s.Authorize(t, user, test.key.Public())
			host := fleettest.HostConfig(t, s, user, test.auth)
			if test.auth.Identities == nil || test.want != "" {
				e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
				fleettest.Equal(t, "tried", strings.Join(e.Tried, " "), test.want)
				return
			}
			fleettest.Equal(t, "key", ssh.FingerprintSHA256(fleettest.Dial(t, host).Logins()[0].Key), ssh.FingerprintSHA256(test.key.Public()))
			s.Logged(t, 1, "Connection from")
		})
	}
	t.Run("another agent", func(t *testing.T) {
		t.Setenv("SSH_AUTH_SOCK", "/nonexistent/agent")
		s := sshdtest.Start(t, sshdtest.Options{})
		s.Authorize(t, user, inAgent.Public())
		host := fleettest.HostConfig(t, s, user, fleetssh.Auth{AgentSocket: a.Socket, Identities: []string{"~/keys/agent.pub"}})
		host.ForwardAgent = true
		fleettest.Contains(t, fleettest.Output(t, fleettest.Dial(t, host), "ssh-add -l"), ssh.FingerprintSHA256(inAgent.Public()))
	})
}

// HostKeyAlias replaces name, address and port in known_hosts.
func TestSSHDHostKeyAlias(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	host.HostKeys = fleettest.Trust(t, fleettest.KnownLines("gold", fleettest.KeysOf(s, sshdtest.KindECDSA)...)...)
	fleettest.DialFails[*fleetssh.HostKeyError](t, host)
	host.HostKeyAlias = "gold"
	fleettest.Equal(t, "host key", fleettest.Dial(t, host).Logins()[0].HostKey.Type(), ssh.KeyAlgoECDSA256)
	host.HostKeyAlias = "a b"
	fleettest.Equal(t, "field", fleettest.DialFails[*fleetssh.ConfigError](t, host).Field, "HostConfig.HostKeyAlias")

	file := filepath.Join(t.TempDir(), "known_hosts")
	policy := &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AddUnknown}
	host.HostKeys, host.HostKeyAlias = policy, "silver"
	fleettest.Dial(t, host)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Contains(t, string(text), "silver ssh-")
}
