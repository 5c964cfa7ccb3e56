package gss

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRealmOf maps hosts to realms by their names and parent domains.
func TestRealmOf(t *testing.T) {
	t.Parallel()
	c := parsedConfig(t, "[domain_realm]\nweb1.a.test = ONE\n.a.test = DOTTED\nb.test = PLAIN\n.x.b.test = INNER\n.test = TOP\n")
	for host, want := range map[string]string{
		"web1.a.test": "ONE", "web2.a.test": "DOTTED", "deep.web2.a.test": "DOTTED", "a.test": "TOP", "b.test": "PLAIN", "web.b.test": "PLAIN",
		"web.x.b.test": "INNER", "x.b.test": "PLAIN", "web.example.com": "", "web1": "", "test": "",
	} {
		if got := c.realmOf(host); got != want {
			t.Errorf("%s is in %q, want %q", host, got, want)
		}
	}
}

// TestKDCs parses the addresses of KDCs in krb5.conf.
func TestKDCs(t *testing.T) {
	t.Parallel()
	c := parsedConfig(t, "[libdefaults]\ndns_lookup_kdc = no\n[realms]\nA = {\nkdc = one\nkdc = two:750\nkdc = [::1]:88\nkdc = [fe80::1]\nkdc = tcp/three\nkdc = udp/four:99 extra\nkdc = https://proxy/KdcProxy\nkdc = sctp/five\n}\nB = {\nkdc = https://proxy/KdcProxy\n}\n")
	got, err := c.kdcs(t.Context(), "A")
	want := []address{{"one:88", ""}, {"two:750", ""}, {"[::1]:88", ""}, {"[fe80::1]:88", ""}, {"three:88", "tcp"}, {"four:99", "udp"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for realm, want := range map[string]string{"B": "none of the KDCs of B", "C": "has no KDC for realm C"} {
		if _, err := c.kdcs(t.Context(), realm); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", realm, err)
		}
	}
}

// TestAttempts checks the order of attempts: all KDCs with one protocol, then with the other.
func TestAttempts(t *testing.T) {
	t.Parallel()
	kdcs := []address{{"one:88", ""}, {"two:88", "tcp"}}
	for preference, want := range map[string]string{
		"udp_preference_limit = 1":       "[{tcp one:88} {tcp two:88} {udp one:88}]",
		"udp_preference_limit = 1000":    "[{udp one:88} {tcp one:88} {tcp two:88}]",
		"udp_preference_limit = nothing": "[{udp one:88} {tcp one:88} {tcp two:88}]",
	} {
		x := &exchanger{config: parsedConfig(t, "[libdefaults]\n"+preference+"\n")}
		if got := fmt.Sprint(x.attempts(kdcs, 1000)); got != want {
			t.Errorf("%s: %s", preference, got)
		}
	}
}

// TestSettings reads settings for all realms and for one.
func TestSettings(t *testing.T) {
	t.Parallel()
	c := parsedConfig(t, "[libdefaults]\ndefault_realm = A\nticket_lifetime = 7h\nclockskew = 100\nforwardable = false\ndns_canonicalize_hostname = fallback\nA = {\nticket_lifetime = 1h\nforwardable = true\nrenew_lifetime = 2d\n}\n")
	if c.defaultRealm() != "A" || c.ticketLifetime("A") != time.Hour || c.ticketLifetime("B") != 7*time.Hour || c.clockSkew() != 100*time.Second ||
		!c.forwardable("A") || c.forwardable("B") || c.renewLifetime("A") != 48*time.Hour || c.renewLifetime("B") != 0 {
		t.Error("wrong settings")
	}
	none := parsedConfig(t, "")
	if none.ticketLifetime("A") != 24*time.Hour || none.clockSkew() != 5*time.Minute || !none.forwardable("A") || none.maxDatagram() != 1465 ||
		none.kcmSocket() != "/var/run/.heim_org.h5l.kcm-socket" {
		t.Error("wrong defaults")
	}
}

// TestEtypes parses lists of encryption types.
func TestEtypes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int32{
		"":                             {18, 17, 20, 19},
		"permitted_enctypes = DEFAULT": {18, 17, 20, 19},
		"permitted_enctypes = aes256-cts-hmac-sha384-192, aes128-sha1 rc4": {20, 17},
		"permitted_enctypes = aes -aes128-cts":                             {18, 20, 19},
		"permitted_enctypes = aes256-sha2 +aes128-sha2":                    {20, 19},
		"default_tgs_enctypes = aes128-cts":                                {17},
		"permitted_enctypes = aes256-cts\ndefault_tgs_enctypes = aes":      {18},
		"permitted_enctypes = rc4-hmac des3":                               nil,
	} {
		got, err := parsedConfig(t, "[libdefaults]\n"+text+"\n").etypes("default_tgs_enctypes")
		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestExpand replaces the parameters in the name of the default cache.
func TestExpand(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"FILE:/tmp/krb5cc_%{uid}": fmt.Sprintf("FILE:/tmp/krb5cc_%d", os.Getuid()), "KEYRING:persistent:%{euid}": fmt.Sprintf("KEYRING:persistent:%d", os.Geteuid()),
		"DIR:%{TEMP}/%{username}%{null}": "DIR:" + strings.TrimSuffix(os.TempDir(), "/") + "/" + me.Username, "KCM:": "KCM:", "100%": "100%",
	} {
		if got, err := expand(text); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"%{nosuch}", "%{uid"} {
		if got, err := expand(text); err == nil {
			t.Errorf("%q is %q", text, got)
		}
	}
	_, err = NewCredentials(Options{Config: writeFile(t, t.TempDir(), "krb5.conf", "[libdefaults]\ndefault_ccache_name = FILE:%{nosuch}\n")}).Principal(t.Context())
	wantError(t, err, `find tickets: default_ccache_name of .*: unknown parameter %{nosuch}`)
}

func TestPrincipals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"alice": "alice@R", "alice@OTHER": "alice@OTHER", "host/web1": "host/web1@R", `odd\@name\/x\\@R`: `odd\@name\/x\\@R`, "a@b@c": `a@b@c`, "": "@R",
	} {
		p := parsePrincipal(text, "R")
		if got := p.String(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// TestDefaults uses the cache and krb5.conf that the environment names.
func TestDefaults(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cc")
	if err := os.WriteFile(cache, encodeCache(parsePrincipal("alice@FLEET.TEST", ""), testTGT()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5_CONFIG", writeFile(t, dir, "krb5.conf", "[libdefaults]\ndefault_ccache_name = FILE:"+cache+"\n"))
	t.Setenv("KRB5CCNAME", "")
	wantPrincipal(t, Options{}, "alice@FLEET.TEST")
	t.Setenv("KRB5CCNAME", "FILE:"+dir+"/other")
	_, err := NewCredentials(Options{}).Principal(t.Context())
	wantError(t, err, "find tickets: there is no ticket in FILE:"+dir+"/other; run kinit")
	t.Setenv("KRB5CCNAME", cache)
	wantPrincipal(t, Options{}, "alice@FLEET.TEST")
}
