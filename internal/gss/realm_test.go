//go:build unix

package gss

import (
	"strings"
	"sync"
	"testing"

	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// TestCrossRealm gets tickets for hosts in another realm that trusts the client's: by
// [domain_realm] in krb5.conf, and by a referral of the KDC.
func TestCrossRealm(t *testing.T) {
	t.Parallel()
	b := kdctest.Start(t, kdctest.Options{Realm: "B.TEST", Hosts: []string{"web.b.test"}})
	a := kdctest.Start(t, kdctest.Options{Realm: "A.TEST", Referrals: map[string]string{"db.b.test": "B.TEST"}})
	a.AddPrincipal(t, "alice", testPassword)
	b.AddService(t, "host/web.b.test")
	b.AddService(t, "host/db.b.test")
	a.Trust(t, b, "web.b.test")
	c := NewCredentials(Options{Config: a.Config, Password: testPassword, Client: "alice"})
	for range 2 {
		for _, host := range []string{"web.b.test", "WEB.b.test.", "db.b.test"} {
			x, err := begin(c, host)
			want := "host/" + strings.ToLower(strings.TrimSuffix(host, ".")) + "@B.TEST"
			if err != nil || x.Service() != want {
				t.Errorf("%s: service %q, %v", host, x.Service(), err)
			}
		}
	}
	if n := len(a.Requests(kdctest.TGS)); n != 2 { // one mapped, one referred
		t.Errorf("%d requests to the client's realm, want 2", n)
	}
	if n := len(b.Requests(kdctest.TGS, "ISSUE")); n != 2 {
		t.Errorf("%d requests to the realm of the hosts, want 2", n)
	}
}

// TestNoTrust checks the error if the realm of the host does not trust the realm of the client.
func TestNoTrust(t *testing.T) {
	t.Parallel()
	a := kdctest.Start(t, kdctest.Options{Realm: "A.TEST"})
	a.AddPrincipal(t, "alice", testPassword)
	c := kdctest.Start(t, kdctest.Options{Realm: "C.TEST"})
	a.Trust(t, c, "web.c.test")
	a.Delete(t, "krbtgt/C.TEST@A.TEST")
	_, err := begin(NewCredentials(Options{Config: a.Config, Password: testPassword, Client: "alice"}), "web.c.test")
	const want = "get a ticket for host/web.c.test@C.TEST as alice@A.TEST: C.TEST does not trust A.TEST: the KDC does not know this service; is [domain_realm] in krb5.conf right?"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestShared checks that concurrent connections make one request for the TGT and one for each
// service.
func TestShared(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := kdctest.Start(t, kdctest.Options{Hosts: []string{"web1.test", "web2.test"}})
	k.AddPrincipal(t, "alice", testPassword)
	k.AddService(t, "host/web1.test")
	k.AddService(t, "host/web2.test")
	c := NewCredentials(Options{Config: k.Config, Password: testPassword, Client: "alice"})
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			host := []string{"web1.test", "web2.test", "nosuch.test"}[i%3]
			if _, err := begin(c, host); (err != nil) != (host == "nosuch.test") {
				t.Errorf("%s: %v", host, err)
			}
		})
	}
	wg.Wait()
	for kind, want := range map[string]int{"web1.test": 1, "web2.test": 1, "nosuch.test": 1} {
		if got := len(k.Requests(kdctest.TGS, kind)); got != want {
			t.Errorf("%d requests for %s, want %d", got, kind, want)
		}
	}
	if got := len(k.Requests(kdctest.AS, "ISSUE")); got != 1 {
		t.Errorf("%d requests for the TGT, want 1", got)
	}
}

// TestWrongPasswordOnce checks that a wrong password is sent to the KDC once, even if many
// connections use it: repeated wrong passwords lock accounts.
func TestWrongPasswordOnce(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, kdctest.Options{})
	k.AddPrincipal(t, "alice", testPassword)
	c := NewCredentials(Options{Config: k.Config, Password: "wrong", Client: "alice"})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := begin(c, "localhost"); err == nil || !strings.Contains(err.Error(), "is the password right?") {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := begin(c, "other.test"); err == nil {
		t.Error("no error")
	}
	if got := len(k.Requests(kdctest.AS, "PREAUTH_FAILED")); got != 1 {
		t.Errorf("%d wrong passwords, want 1:\n%s", got, k.Log())
	}
}
