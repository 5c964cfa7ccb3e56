package kdctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/internal/sshdtest"
)

// TestTickets gets tickets with kinit and kvno and lists them with klist.
func TestTickets(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := Start(t, Options{})
	k.AddPrincipal(t, "alice", "secret words")
	keytab := k.AddService(t, "host/localhost")
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	k.Kinit(t, cache, "alice", "secret words")
	k.Kvno(t, cache, "host/localhost")
	list := k.Klist(t, cache)
	for _, want := range []string{"alice@FLEET.TEST", "krbtgt/FLEET.TEST@FLEET.TEST", "host/localhost@FLEET.TEST", "Flags: F"} {
		if !strings.Contains(list, want) {
			t.Errorf("klist does not show %q:\n%s", want, list)
		}
	}
	if n := len(k.Requests(TGS, "ISSUE", "host/localhost")); n != 1 {
		t.Errorf("%d requests for the service, want 1", n)
	}
	if n := len(k.Requests(AS, "ISSUE", "alice@")); n != 1 {
		t.Errorf("%d TGTs, want 1", n)
	}
	for _, path := range []string{keytab, k.WrongKeytab(t, "host/localhost"), k.Config} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestKeytab checks that both the password and the keytab work after a keytab was written.
func TestKeytab(t *testing.T) {
	t.Parallel()
	k := Start(t, Options{Realm: "OTHER.TEST"})
	k.AddPrincipal(t, "alice", "secret")
	keytab := filepath.Join(k.Dir, "alice.keytab")
	k.Keytab(t, keytab, "alice")
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	k.Kinit(t, cache, "alice", "secret")
	k.Kinit(t, cache, "alice", "", "-k", "-t", keytab)
	if n := len(k.Requests(AS, "ISSUE")); n != 2 {
		t.Errorf("%d TGTs, want 2", n)
	}
}

// TestTrust gets a ticket for a service of another realm.
func TestTrust(t *testing.T) {
	t.Parallel()
	a := Start(t, Options{Realm: "A.TEST"})
	b := Start(t, Options{Realm: "B.TEST"})
	a.AddPrincipal(t, "alice", "secret")
	b.AddService(t, "host/web.b.test")
	a.Trust(t, b, "web.b.test")
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	a.Kinit(t, cache, "alice", "secret")
	a.Kvno(t, cache, "host/web.b.test@B.TEST")
	if n := len(b.Requests(TGS, "ISSUE", "host/web.b.test")); n != 1 {
		t.Errorf("%d requests at the other KDC, want 1", n)
	}
}

// TestKCM gets a ticket into a cache of the daemon.
func TestKCM(t *testing.T) {
	t.Parallel()
	socket, err := StartKCM(t)
	if err != nil {
		t.Logf("the daemon cannot run: %v", err)
		return
	}
	k := Start(t, Options{LibDefaults: []string{"kcm_socket = " + socket}})
	k.AddPrincipal(t, "alice", "secret")
	k.Kinit(t, "KCM:", "alice", "secret")
	if list := k.Klist(t, "KCM:"); !strings.Contains(list, "alice@FLEET.TEST") {
		t.Errorf("klist shows no alice:\n%s", list)
	}
}

// TestRestart checks that the principals survive a restart.
func TestRestart(t *testing.T) {
	t.Parallel()
	k := Start(t, Options{})
	k.AddPrincipal(t, "alice", "secret")
	k.Stop()
	k.Restart(t)
	k.Kinit(t, "FILE:"+filepath.Join(t.TempDir(), "cc"), "alice", "secret")
}
