//go:build unix

package gss

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/internal/kdctest"
)

// TestSecrets looks for the password and for keys in every text that fmt, slog and json make of the
// package's values.
func TestSecrets(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, kdctest.Options{})
	k.AddPrincipal(t, "alice", testPassword)
	k.AddService(t, "host/localhost")
	keytab := filepath.Join(k.Dir, "alice")
	k.Keytab(t, keytab, "alice")
	o := Options{Config: k.Config, Password: testPassword, Client: "alice"}
	c := NewCredentials(o)
	x, err := begin(c, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	o.Client = "nobody"
	_, refused := begin(NewCredentials(o), "localhost")
	tgt, ok := c.tickets.lookup("")
	if !ok {
		t.Fatal("no TGT")
	}
	byKeytab := NewCredentials(Options{Config: k.Config, Keytab: keytab})
	if _, err := begin(byKeytab, "localhost"); err != nil {
		t.Fatal(err)
	}
	secrets := []string{testPassword}
	for _, value := range [][]byte{tgt.key.value, x.session.value, x.authenticator.subkey.value} {
		secrets = append(secrets, string(value), fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), strings.Trim(fmt.Sprint(value), "[]"))
	}
	type holder struct { // a caller's struct
		O  Options
		Op *Options
		C  *Credentials
		X  *Context
		D  Description
		E  error
	}
	values := []any{o, &o, c, x, byKeytab, c.Describe("localhost"), refused, holder{o, &o, c, x, c.Describe(""), refused}, map[Options]bool{o: true}, []Options{o}}
	for _, v := range values {
		var text bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%T"} { // fmt does not call Format for %p
			fmt.Fprintf(&text, verb+"\n", v)
		}
		fmt.Fprint(&text, v)
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&text, nil)).Info("m", "v", v)
		if encoded, err := json.Marshal(v); err == nil {
			text.Write(encoded)
		}
		for _, secret := range secrets {
			if strings.Contains(text.String(), secret) || strings.Contains(text.String(), fmt.Sprintf("%x", secret)) {
				t.Errorf("%T shows a secret", v)
			}
		}
	}
}

// TestDescribe checks descriptions, which must not contact the KDC.
func TestDescribe(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, kdctest.Options{})
	k.AddPrincipal(t, "alice", testPassword)
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	k.Kinit(t, cache, "alice", testPassword, "-l", "1h")
	keytab := filepath.Join(k.Dir, "alice")
	k.Keytab(t, keytab, "alice")
	before := k.Log()
	d := NewCredentials(Options{Config: k.Config, Cache: cache}).Describe("Localhost")
	if d.Source != "cache "+cache || d.Principal != "alice@FLEET.TEST" || d.Service != "host/localhost@FLEET.TEST" || d.Until.IsZero() || !d.Forwards || d.Err != nil {
		t.Errorf("cache: %+v", d)
	}
	d = NewCredentials(Options{Config: k.Config, Keytab: "FILE:" + keytab}).Describe("")
	if d.Source != "keytab "+keytab || d.Principal != "alice@FLEET.TEST" || d.Service != "" || !d.Until.IsZero() || d.Err != nil {
		t.Errorf("keytab: %+v", d)
	}
	c := NewCredentials(Options{Config: k.Config, Password: testPassword, Client: "alice"})
	d = c.Describe("web9.example.com")
	if d.Source != "password" || d.Principal != "alice@FLEET.TEST" || d.Service != "host/web9.example.com@FLEET.TEST" || !d.Until.IsZero() || d.Err != nil {
		t.Errorf("password: %+v", d)
	}
	d = NewCredentials(Options{Config: k.Config, Cache: cache + "none"}).Describe("localhost")
	wantError(t, d.Err, "find tickets: there is no ticket in "+cache+"none; run kinit")
	d = NewCredentials(Options{Config: k.Config, Cache: cache}).Describe("10.0.0.1")
	wantError(t, d.Err, "get a ticket for host/10.0.0.1: a ticket is for the name of a host.*")
	if k.Log() != before {
		t.Error("the KDC was asked")
	}
	k.AddService(t, "host/localhost")
	if _, err := c.Principal(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(c, "localhost"); err != nil {
		t.Fatal(err)
	}
	if d := c.Describe("localhost"); d.Until.IsZero() || !d.Forwards || d.Err != nil {
		t.Errorf("after getting a ticket: %+v", d)
	}
}
