//go:build unix

package gss

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// TestRefusals checks errors and hints when the KDC refuses a request or the options are wrong.
func TestRefusals(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, kdctest.Options{})
	k.AddPrincipal(t, "alice", testPassword)
	k.AddPrincipal(t, "locked", testPassword, "-allow_tix")
	k.AddPrincipal(t, "old", testPassword, "+needchange")
	k.AddPrincipal(t, "past", testPassword, "-expire", "yesterday")
	keytab := filepath.Join(k.Dir, "stale")
	k.AddPrincipal(t, "changed", testPassword)
	k.Keytab(t, keytab, "changed")
	k.ChangeKey(t, "changed")
	k.AddService(t, "host/localhost")
	tests := map[string]struct {
		o    Options
		host string
		want string
	}{
		"wrong password": {Options{Password: "wrong", Client: "alice"}, "localhost",
			`get a ticket-granting ticket as alice@FLEET.TEST: the KDC refuses the password or key; is the password right\?`},
		"unknown client": {Options{Password: "x", Client: "nobody"}, "localhost",
			`get a ticket-granting ticket as nobody@FLEET.TEST: the KDC does not know this client; is the client's name right, and its realm\?`},
		"stale keytab": {Options{Keytab: keytab}, "localhost",
			`.* as changed@FLEET.TEST: the KDC refuses the password or key; the keytab is out of date: get a new one`},
		"locked": {Options{Password: testPassword, Client: "locked"}, "localhost",
			`.* as locked@FLEET.TEST: the account is locked .*; ask the administrator of the realm`},
		"password expired": {Options{Password: testPassword, Client: "old"}, "localhost",
			`.* as old@FLEET.TEST: the password has expired .*; change it with kpasswd`},
		"account expired": {Options{Password: testPassword, Client: "past"}, "localhost",
			`.* as past@FLEET.TEST: the account has expired .*; ask the administrator of the realm`},
		"unknown service": {Options{Password: testPassword, Client: "alice"}, "nosuch.fleet.test",
			`get a ticket for host/nosuch.fleet.test@FLEET.TEST as alice@FLEET.TEST: the KDC does not know this service; is the host in this realm\? if it has another name there, set the server identity to that name`},
		"address": {Options{Password: testPassword, Client: "alice"}, "127.0.0.1",
			`get a ticket for host/127.0.0.1 as alice: a ticket is for the name of a host, and this is an IP address; set the server identity to the host's name`},
		"address of version 6": {Options{Password: testPassword, Client: "alice"}, "[::1]",
			`get a ticket for host/\[::1\] as alice: a ticket is for the name of a host.*`},
		"realm without a KDC": {Options{Password: "x", Client: "alice@NO.TEST"}, "localhost",
			`get a ticket-granting ticket as alice@NO.TEST: .*krb5.conf has no KDC for realm NO.TEST; name its KDCs in krb5.conf`},
		"password without a client": {Options{Password: "x"}, "localhost",
			`find tickets: a password needs the name of the client`},
		"no keytab": {Options{Keytab: "FILE:" + k.Dir + "/none"}, "localhost",
			`find tickets: keytab .*/none: no such file or directory`},
		"keytab of another client": {Options{Keytab: keytab, Client: "alice"}, "localhost",
			`find tickets as alice: keytab .*/stale has no AES key of alice@FLEET.TEST`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.o.Config = k.Config
			x, err := begin(NewCredentials(test.o), test.host)
			wantError(t, err, test.want)
			if x.Err() != err || x.Begun() {
				t.Errorf("Err says %v, begun %v", x.Err(), x.Begun())
			}
		})
	}
}

// TestNoRealm checks the error if there is no default realm.
func TestNoRealm(t *testing.T) {
	t.Parallel()
	_, err := begin(NewCredentials(Options{Config: "/nonexistent/krb5.conf", Password: "x", Client: "alice"}), "web1.test")
	wantError(t, err, `find tickets as alice: the realm is not known; set default_realm in krb5.conf, or give the client with its realm: name@REALM`)
}

// TestTimes checks errors and hints for cached tickets that cannot be used.
func TestTimes(t *testing.T) {
	t.Parallel()
	config := krbConfig(t, "", "127.0.0.1:1")
	change := func(change func(*ticket)) string {
		tgt := testTGT()
		change(tgt)
		return cacheWith(t, tgt)
	}
	now := time.Now()
	for name, test := range map[string]struct{ cache, want string }{
		"expired": {change(func(t *ticket) { t.end = now.Add(-time.Hour) }),
			`find tickets as alice@FLEET.TEST: the ticket in cache FILE:.* expired at 20.*; run kinit`},
		"not yet valid": {change(func(t *ticket) { t.start = now.Add(time.Hour) }),
			`.*: the ticket in cache FILE:.* becomes valid only in 1h0m0s; set the clock, or run kinit`},
		"postdated": {change(func(t *ticket) { t.flags |= flagInvalid }), `.*: the ticket in cache FILE:.* is postdated; run kinit -v`},
		"old key":   {change(func(t *ticket) { t.key.etype = 23 }), `.*: the ticket in cache FILE:.*: encryption type arcfour-hmac is not supported; only AES is`},
		"none":      {cacheWith(t), `.*: cache FILE:.* has no ticket-granting ticket; run kinit`},
	} {
		_, err := begin(NewCredentials(Options{Config: config, Cache: test.cache}), "web1")
		t.Log(name)
		wantError(t, err, test.want)
	}
}

// TestClockSkew checks that the error says by how much the clocks differ.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	k := startFakeKDC(t, func(string, []byte) []byte { return encodeError(codeSkew, time.Now().Add(10*time.Minute), nil) })
	config := krbConfig(t, "", k.address)
	_, err := begin(NewCredentials(Options{Config: config, Password: "x", Client: "alice"}), "web1")
	wantError(t, err, `.*: the clocks of this machine and the KDC differ by (10m0s|9m[0-9]+s); set the clock`)
	_, err = begin(NewCredentials(Options{Config: config, Cache: cacheWith(t, testTGT())}), "web1")
	wantError(t, err, `.*: the clocks of this machine and the KDC differ by (10m0s|9m[0-9]+s); set the clock`)
}

// TestKDCDown checks that refused connections are reported at once, with all addresses.
func TestKDCDown(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	gone := []string{"127.0.0.1:1", "127.0.0.2:1"} // nothing listens on these ports
	config := krbConfig(t, "", gone...)
	var err error
	sshdtest.Within(t, "the error", tryNext, func() {
		_, err = begin(NewCredentials(Options{Config: config, Cache: cacheWith(t, testTGT())}), "web1")
	})
	wantError(t, err, `get a ticket for host/web1@FLEET.TEST as alice@FLEET.TEST: no KDC of FLEET.TEST answers: `+
		gone[0]+`: connection refused, `+gone[1]+`: connection refused; is the network up\?`)
}

// TestSilentKDC checks that the end of the context ends the wait for a KDC.
func TestSilentKDC(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startFakeKDC(t, func(string, []byte) []byte { return nil })
	config := krbConfig(t, "", k.address)
	var err error
	sshdtest.Within(t, "the error", tryTimeout/2, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		x := NewCredentials(Options{Config: config, Password: "x", Client: "alice"}).NewContext(ctx, false)
		_, _, err = x.InitSecContext("host@web1", nil, false)
	})
	wantError(t, err, `get a ticket-granting ticket as alice@FLEET.TEST: no KDC of FLEET.TEST answers: `+k.address+`: no answer; is the network up\?`)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error("the error does not wrap context.DeadlineExceeded")
	}
}
