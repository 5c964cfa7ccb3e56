//go:build unix

package gss

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/internal/kdctest"
)

// TestCachedService uses a service ticket from the cache, without a KDC.
func TestCachedService(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, kdctest.Options{})
	k.AddPrincipal(t, "alice", testPassword)
	k.AddService(t, "host/localhost")
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	k.Kinit(t, cache, "alice", testPassword)
	k.Kvno(t, cache, "host/localhost")
	k.Stop()
	wantTicket(t, Options{Config: k.Config, Cache: cache})
}

// TestClientKeytab uses the client keytab of krb5.conf if the default cache has no valid ticket.
func TestClientKeytab(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := kdctest.Start(t, kdctest.Options{})
	for _, name := range []string{"alice", "robot"} {
		k.AddPrincipal(t, name, testPassword)
	}
	k.AddService(t, "host/localhost")
	keytab := filepath.Join(dir, "keytab")
	k.Keytab(t, keytab, "robot")
	cache := "FILE:" + filepath.Join(dir, "cc")
	own := writeFile(t, dir, "own", "[libdefaults]\ndefault_ccache_name = "+cache+"\ndefault_client_keytab_name = "+keytab+"\n")
	o := Options{Config: own + ":" + k.Config}
	wantPrincipal(t, o, "robot@FLEET.TEST")
	wantTicket(t, o)
	_, err := NewCredentials(Options{Config: o.Config, Cache: cache}).Principal(t.Context()) // a named cache is not replaced by the keytab
	wantError(t, err, "find tickets: there is no ticket in "+cache+"; run kinit")
	o.Client = "carol"
	_, err = NewCredentials(o).Principal(t.Context())
	wantError(t, err, "find tickets as carol: there is no ticket, and keytab "+keytab+" has no AES key of carol@FLEET.TEST; run kinit")
	k.Kinit(t, cache, "alice", testPassword)
	o.Client = ""
	wantPrincipal(t, o, "alice@FLEET.TEST")
}

// TestNoCache checks the errors and hints for caches that cannot be used.
func TestNoCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("krb5.conf", "[libdefaults]\ndefault_realm = FLEET.TEST\nkcm_socket = "+dir+"/none\n")
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for cache, want := range map[string]string{
		"FILE:" + dir + "/none":                "find tickets: there is no ticket in FILE:" + dir + "/none; run kinit",
		dir + "/none":                          "find tickets: there is no ticket in " + dir + "/none; run kinit",
		"DIR:" + dir + "/none":                 "there is no ticket in DIR:" + dir + "/none; run kinit",
		"DIR:" + dir + "/empty":                "there is no ticket in DIR:" + dir + "/empty; run kinit",
		"DIR::" + dir + "/none":                "there is no ticket in DIR::" + dir + "/none; run kinit",
		"FILE:" + write("nothing", ""):         "the cache is empty",
		"FILE:" + write("text", "hello"):       "not a credential cache",
		"FILE:" + write("old", "\x05\x01abcd"): "version 1 of the cache format is not supported",
		"FILE:" + write("cut", "\x05\x04\x00"): "is damaged",
		"FILE:" + dir:                          "is not a regular file",
		"KCM:":                                 "the KCM daemon cannot be reached",
		"MEMORY:x":                             "a MEMORY cache can only be read by the process that made it",
		"API:x":                                "cache type API is not supported",
		"KEYRING:nowhere:x":                    "keyring type \"nowhere\" is not known",
	} {
		_, err := NewCredentials(Options{Config: config, Cache: cache}).Principal(context.Background())
		if e := (*Error)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", cache, err, want)
		}
	}
}
