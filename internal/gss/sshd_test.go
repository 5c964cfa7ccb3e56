//go:build unix

package gss

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// fleet is a KDC and an sshd that uses it. The current user has a principal.
type fleet struct {
	kdc    *kdctest.KDC
	sshd   *sshdtest.Server
	user   string
	keytab string // the keytab of the host
}

func startFleet(t testing.TB, opt kdctest.Options) *fleet {
	t.Helper()
	f := &fleet{kdc: kdctest.Start(t, opt), user: sshdtest.CurrentUser(t)}
	f.kdc.AddPrincipal(t, f.user, testPassword)
	f.keytab = f.kdc.AddService(t, "host/localhost")
	f.sshd = startSSHD(t, f.kdc, f.keytab)
	return f
}

func startSSHD(t testing.TB, k *kdctest.KDC, keytab string) *sshdtest.Server {
	t.Helper()
	return sshdtest.Start(t, sshdtest.Options{
		HostKeys: []string{sshdtest.KindED25519},
		Config:   []string{"GSSAPIAuthentication yes", "GSSAPIStrictAcceptorCheck no", "PasswordAuthentication no"},
		Env:      append(k.Env(), "KRB5_KTNAME=FILE:"+keytab),
	})
}

// login logs in to localhost with a context and returns the output of a command.
func login(t testing.TB, s *sshdtest.Server, user string, x *Context, command string) (string, error) {
	t.Helper()
	client, err := ssh.Dial("tcp", "127.0.0.1:"+strings.TrimPrefix(s.Address(), "[127.0.0.1]:"), &ssh.ClientConfig{
		User: user, Timeout: sshdtest.Patience,
		HostKeyCallback: ssh.FixedHostKey(s.HostKey(sshdtest.KindED25519)),
		Auth:            []ssh.AuthMethod{ssh.GSSAPIWithMICAuthMethod(x, "localhost")},
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.CombinedOutput(command)
	return string(out), err
}

// TestLogin logs in with every source of tickets and keys of every type, with and without
// delegation.
func TestLogin(t *testing.T) {
	t.Parallel()
	for _, etype := range defaultEtypes() {
		name := etypeName(etype)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			f := startFleet(t, kdctest.Options{Enctypes: name + ":normal"})
			keytab := filepath.Join(f.kdc.Dir, "user.keytab")
			f.kdc.Keytab(t, keytab, f.user)
			cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
			f.kdc.Kinit(t, cache, f.user, testPassword)
			sources := map[string]Options{
				"password": {Config: f.kdc.Config, Password: testPassword, Client: f.user},
				"keytab":   {Config: f.kdc.Config, Keytab: "FILE:" + keytab},
				"cache":    {Config: f.kdc.Config, Cache: cache},
			}
			for source, o := range sources {
				c := NewCredentials(o)
				x := c.NewContext(context.Background(), false)
				out, err := login(t, f.sshd, f.user, x, "klist 2>&1; id -un")
				if err != nil {
					t.Fatalf("%s: %v (%v)", source, err, x.Err())
				}
				if !strings.Contains(out, f.user) || strings.Contains(out, "krbtgt") {
					t.Errorf("%s: output %q", source, out)
				}
				if want := "host/localhost@" + f.kdc.Realm; x.Service() != want || x.Err() != nil || !x.Begun() {
					t.Errorf("%s: service %q, error %v", source, x.Service(), x.Err())
				}
				x = c.NewContext(context.Background(), true)
				out, err = login(t, f.sshd, f.user, x, "klist -f")
				if err != nil || x.DelegationErr() != nil {
					t.Fatalf("%s: delegating: %v, %v, %v", source, err, x.Err(), x.DelegationErr())
				}
				if !strings.Contains(out, "Flags: FfRA") && !strings.Contains(out, "Flags: FfA") {
					t.Errorf("%s: no forwarded ticket: %s", source, out)
				}
			}
		})
	}
}

// TestManyLogins logs in many times concurrently with the tickets of one user.
func TestManyLogins(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	f := startFleet(t, kdctest.Options{})
	c := NewCredentials(Options{Config: f.kdc.Config, Password: testPassword, Client: f.user})
	const logins = 20
	var wg sync.WaitGroup
	for range logins {
		wg.Go(func() {
			x := c.NewContext(context.Background(), true)
			if out, err := login(t, f.sshd, f.user, x, "klist -f"); err != nil || !strings.Contains(out, "Flags: Ff") {
				t.Errorf("%v, %v, %v: %s", err, x.Err(), x.DelegationErr(), out)
			}
		})
	}
	wg.Wait()
	for _, want := range []struct {
		kind, word string
		times      int
	}{{kdctest.AS, "krbtgt/", 1}, {kdctest.TGS, "host/localhost", 1}, {kdctest.TGS, "krbtgt/", logins}} {
		if got := len(f.kdc.Requests(want.kind, "ISSUE", " for "+want.word)); got != want.times {
			t.Errorf("%d of %s for %s, want %d", got, want.kind, want.word, want.times)
		}
	}
}

// TestWrongHostKeytab logs in to a host whose key in the keytab differs from the KDC's. The login
// must fail.
func TestWrongHostKeytab(t *testing.T) {
	t.Parallel()
	f := startFleet(t, kdctest.Options{})
	sshd := startSSHD(t, f.kdc, f.kdc.WrongKeytab(t, "host/localhost"))
	x := NewCredentials(Options{Config: f.kdc.Config, Password: testPassword, Client: f.user}).NewContext(context.Background(), false)
	if out, err := login(t, sshd, f.user, x, "id"); err == nil {
		t.Fatalf("logged in: %s", out)
	}
	if !x.Begun() {
		t.Error("no token was sent")
	}
}

// TestCrossRealmLogin logs in to a host in a realm that trusts the realm of the user, and delegates
// the TGT of the user's realm.
func TestCrossRealmLogin(t *testing.T) {
	t.Parallel()
	user := sshdtest.CurrentUser(t)
	host := kdctest.Start(t, kdctest.Options{Realm: "HOSTS.TEST", RealmLines: []string{"auth_to_local = RULE:[1:$1@$0](.*@USERS.TEST)s/@.*//", "auth_to_local = DEFAULT"}})
	home := kdctest.Start(t, kdctest.Options{Realm: "USERS.TEST"})
	home.AddPrincipal(t, user, testPassword)
	keytab := host.AddService(t, "host/localhost")
	home.Trust(t, host, "localhost")
	sshd := startSSHD(t, host, keytab)
	x := NewCredentials(Options{Config: home.Config, Password: testPassword, Client: user}).NewContext(context.Background(), true)
	out, err := login(t, sshd, user, x, "klist -f")
	if err != nil || x.DelegationErr() != nil || x.Service() != "host/localhost@HOSTS.TEST" {
		t.Fatalf("%v, %v, %v, %s", err, x.Err(), x.DelegationErr(), x.Service())
	}
	if !strings.Contains(out, "krbtgt/USERS.TEST@USERS.TEST") || !strings.Contains(out, "Flags: Ff") {
		t.Errorf("no forwarded ticket: %s", out)
	}
}

// TestNotForwardable logs in with tickets that cannot be delegated, and checks DelegationErr.
func TestNotForwardable(t *testing.T) {
	t.Parallel()
	f := startFleet(t, kdctest.Options{})
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	f.kdc.Kinit(t, cache, f.user, testPassword, "-F")
	f.kdc.Modify(t, f.user, "-allow_forwardable")
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Cache: cache}, `delegate a ticket for host/localhost@FLEET.TEST as .*: the ticket is not forwardable; run kinit -f`},
		{Options{Password: testPassword, Client: f.user}, `delegate a ticket for host/localhost@FLEET.TEST as .*: the ticket is not forwardable; is forwardable allowed by krb5.conf and by the KDC\?`},
	} {
		test.o.Config = f.kdc.Config
		x := NewCredentials(test.o).NewContext(context.Background(), true)
		out, err := login(t, f.sshd, f.user, x, "klist 2>&1; true")
		if err != nil || strings.Contains(out, "krbtgt") {
			t.Errorf("%v: %s", err, out)
		}
		if x.Err() != nil {
			t.Error(x.Err())
		}
		wantError(t, x.DelegationErr(), test.want)
	}
}

// TestAccounts logs in as the account with the name of the principal, and fails to log in as
// another.
func TestAccounts(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can log in to other accounts")
		return
	}
	sshdtest.Accounts(t)
	f := startFleet(t, kdctest.Options{})
	f.kdc.AddPrincipal(t, sshdtest.Alice, testPassword)
	c := NewCredentials(Options{Config: f.kdc.Config, Password: testPassword, Client: sshdtest.Alice})
	out, err := login(t, f.sshd, sshdtest.Alice, c.NewContext(context.Background(), true), "id -un; klist -f")
	if err != nil || !strings.Contains(out, sshdtest.Alice+"\n") || !strings.Contains(out, "Flags: Ff") {
		t.Errorf("%v: %s", err, out)
	}
	x := c.NewContext(context.Background(), false)
	if out, err := login(t, f.sshd, sshdtest.Bob, x, "id"); err == nil || x.Err() != nil {
		t.Errorf("as another account: %s, %v", out, x.Err())
	}
}
