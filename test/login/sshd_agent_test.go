package login

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// withAgent points SSH_AUTH_SOCK to an agent and leaves no default key files.
func withAgent(t *testing.T, socket string) {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", socket)
	t.Setenv("HOME", t.TempDir())
}

func TestSSHDAgent(t *testing.T) {
	sshdtest.CheckLeaks(t)
	user := sshdtest.CurrentUser(t)
	for _, test := range []struct {
		name   string
		kind   string
		others int // keys listed before the right one
		config []string
		want   string // text of the error; empty: the login succeeds
	}{
		{name: "one key", kind: sshdtest.KindED25519},
		{name: "rsa", kind: sshdtest.KindRSA},
		{name: "ecdsa", kind: sshdtest.KindECDSA},
		{name: "last of 10 keys", kind: sshdtest.KindED25519, others: 9},
		{name: "last of 10 keys, MaxAuthTries 3", kind: sshdtest.KindED25519, others: 9, config: []string{"MaxAuthTries 3"}},
		{name: "MaxAuthTries 1", kind: sshdtest.KindED25519, others: 2, config: []string{"MaxAuthTries 1"}},
		{name: "too many keys", kind: sshdtest.KindED25519, others: 30, want: "some keys were not offered"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			s := sshdtest.Start(t, sshdtest.Options{Config: test.config})
			a := sshdtest.StartAgent(t)
			withAgent(t, a.Socket)
			for range test.others {
				a.Add(t, sshdtest.NewKey(t, sshdtest.KindED25519))
			}
			key := sshdtest.NewKey(t, test.kind)
			a.Add(t, key)
			s.Authorize(t, user, key.Public())
			host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
			if test.want == "" {
				fleettest.Dial(t, host)
			} else {
				fleettest.Contains(t, fleettest.DialFails[*fleetssh.AuthenticationError](t, host).Error(), test.want)
			}
			connections := strings.Count(s.Log(), "Connection from")
			host.Auth.NoAgent = true
			fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
			s.Logged(t, connections+1, "Connection from")
		})
	}
}

// The key whose public half is in a default file is offered first.
func TestSSHDAgentDefaultKeyFirst(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxAuthTries 1"}})
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	for range 5 {
		a.Add(t, sshdtest.NewKey(t, sshdtest.KindED25519))
	}
	key := sshdtest.NewKey(t, sshdtest.KindECDSA)
	a.Add(t, key)
	dir := filepath.Join(os.Getenv("HOME"), ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "id_ecdsa.pub"), ssh.MarshalAuthorizedKey(key.Public()), 0o644); err != nil {
		t.Fatal(err)
	}
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
	s.Logged(t, 1, "Connection from")
}

func TestSSHDAgentCertificate(t *testing.T) {
	sshdtest.CheckLeaks(t)
	ca := sshdtest.NewCA(t)
	user := sshdtest.CurrentUser(t)
	caFile := filepath.Join(t.TempDir(), "ca.pub")
	if err := os.WriteFile(caFile, ssh.MarshalAuthorizedKey(ca.Public()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, kind := range sshdtest.Kinds {
		t.Run(kind, func(t *testing.T) {
			s := sshdtest.Start(t, sshdtest.Options{Config: []string{"TrustedUserCAKeys " + caFile}})
			a := sshdtest.StartAgent(t)
			withAgent(t, a.Socket)
			key := sshdtest.NewKey(t, kind)
			cert := ca.SignUser(t, key.Public(), sshdtest.Validity{}, user)
			a.AddCertificate(t, key, cert)
			fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
			fleettest.Contains(t, s.Log(), "Accepted publickey", "CA ED25519")
			// The certificate is given separately, and the agent holds only its key.
			bare := sshdtest.StartAgent(t)
			withAgent(t, bare.Socket)
			bare.Add(t, key)
			fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{CertData: ssh.MarshalAuthorizedKey(cert)}))
		})
	}
}

// An unusable agent costs at most a short delay.
func TestSSHDAgentUnusable(t *testing.T) {
	sshdtest.CheckLeaks(t)
	dead := filepath.Join(t.TempDir(), "dead")
	empty := sshdtest.StartAgent(t)
	user := sshdtest.CurrentUser(t)
	for _, test := range []struct{ name, socket string }{
		{"no such socket", dead},
		{"empty", empty.Socket},
	} {
		t.Run(test.name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			s := sshdtest.Start(t, sshdtest.Options{})
			withAgent(t, test.socket)
			key := sshdtest.NewKey(t, sshdtest.KindED25519)
			dir := filepath.Join(os.Getenv("HOME"), ".ssh")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			key.Write(t, filepath.Join(dir, "id_ed25519"), "")
			s.Authorize(t, user, key.Public())
			begun := time.Now()
			fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
			if took := time.Since(begun); took > fleettest.Promptly {
				t.Errorf("login took %v", took)
			}
			if test.socket == dead {
				s.Authorize(t, user)
				e := fleettest.DialFails[*fleetssh.AuthenticationError](t, fleettest.HostConfig(t, s, user, fleetssh.Auth{NoDefaultKeys: true}))
				fleettest.Contains(t, e.Error(), "SSH agent:")
			}
		})
	}
	t.Run("silent, many hosts", func(t *testing.T) {
		sshdtest.CheckLeaks(t)
		s, host := fleettest.StartSSHD(t, sshdtest.Options{})
		withAgent(t, sshdtest.StartRelay(t, "").Socket)
		key := filepath.Join(os.Getenv("HOME"), ".ssh", "id_ed25519")
		if err := os.Mkdir(filepath.Dir(key), 0o700); err != nil {
			t.Fatal(err)
		}
		k := sshdtest.NewKey(t, sshdtest.KindED25519)
		k.Write(t, key, "")
		s.Authorize(t, user, k.Public())
		host.Auth = fleetssh.Auth{}
		p := &fleetssh.ParallelClient{Hosts: fleetssh.Hosts(host, make20(host.Host)...)}
		defer p.Close()
		if err := p.Connect(fleettest.Soon(t)); err != nil {
			t.Error(err)
		}
	})
}

// The agent protocol gives no reasons, so the error text explains what a failure probably
// means.
func TestSSHDAgentUnwilling(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	a.Add(t, key)
	s.Authorize(t, user, key.Public())
	public := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(public, ssh.MarshalAuthorizedKey(key.Public()), 0o600); err != nil {
		t.Fatal(err)
	}
	named, any := fleettest.HostConfig(t, s, user, fleetssh.Auth{KeyFile: public}), fleettest.HostConfig(t, s, user, fleetssh.Auth{})
	fleettest.Dial(t, named)

	conn, err := net.Dial("unix", a.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := agent.NewClient(conn)
	if err := client.Lock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	fleettest.Contains(t, fleettest.DialFails[*fleetssh.PKeyFileError](t, named).Error(), "public half", "locked (ssh-add -X")
	fleettest.Contains(t, fleettest.DialFails[*fleetssh.AuthenticationError](t, any).Error(), "locked (ssh-add -X")
	if err := client.Unlock([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := client.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	// The key is restricted to one host, and the client cannot prove to the agent that this is
	// the host.
	known, file := filepath.Join(t.TempDir(), "known"), filepath.Join(t.TempDir(), "key")
	key.Write(t, file, "")
	if err := os.WriteFile(known, []byte(strings.Join(fleettest.KnownLines("there", fleettest.KeysOf(s)...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-add", "-q", "-H", known, "-h", "there", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	fleettest.Contains(t, fleettest.DialFails[*fleetssh.AuthenticationError](t, named).Error(), "bound to certain hosts (ssh-add -h)")
}

// make20 repeats a name 20 times.
func make20(name string) []string { return strings.Fields(strings.Repeat(name+" ", 20)) }

// All hosts share one connection to the agent.
func TestSSHDAgentOneConnection(t *testing.T) {
	sshdtest.CheckLeaks(t)
	const logins = 300
	s := sshdtest.Start(t, sshdtest.Options{})
	a := sshdtest.StartAgent(t)
	relay := sshdtest.StartRelay(t, a.Socket)
	withAgent(t, relay.Socket)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	a.Add(t, key)
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
	host.ConnectTimeout = 3 * fleettest.Patience // the test is about the number of hosts, not the time
	p := &fleetssh.ParallelClient{PoolSize: logins}
	for range logins {
		p.Hosts = append(p.Hosts, host)
	}
	defer p.Close()
	ctx := t.Context()
	if err := p.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "connections to the agent", relay.Connections.Load(), 1)
}

// After a restart of the agent, new logins use it again.
func TestSSHDAgentRestarted(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	a.Add(t, key)
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, host, host}}
	defer p.Close()
	connect := func(i int) error {
		_, err := p.Client(fleettest.Soon(t), i)
		return err
	}
	if err := connect(0); err != nil {
		t.Fatal(err)
	}
	a.Stop()
	a.Start(t)
	a.Add(t, key)
	if err := connect(1); err != nil {
		t.Fatalf("after the restart of the agent: %v", err)
	}
	a.Stop()
	// The list of keys may be cached briefly, a signature never.
	e := fleettest.AsError[*fleetssh.AuthenticationError](t, connect(2))
	fleettest.Contains(t, e.Error(), "SSH agent:")
	a.Start(t)
	a.Add(t, key)
	sshdtest.Eventually(t, fleettest.Patience, "login through the new agent", func() bool { return connect(2) == nil })
}
