package sshconfig_test

import (
	"slices"
	"sync"
	"testing"

	"fleetssh"
)

// hopsOf returns the names of the hops to a host, in order.
func hopsOf(h fleetssh.HostConfig) string {
	if h.Proxy == nil {
		return ""
	}
	before := hopsOf(*h.Proxy)
	if before != "" {
		before += ","
	}
	plain := fleetssh.HostConfig{Host: h.Proxy.Host, Port: h.Proxy.Port, User: h.Proxy.User}
	return before + plain.String()
}

func TestHops(t *testing.T) {
	t.Parallel()
	const text = `
Host gw
    HostName gw.example.org
    User gate
    Port 2222
    IdentityFile /gw
    ProxyJump none
Host inner
    ProxyJump gw
Host chain
    ProxyJump gw,me@inner:23,[::1]
Host direct gw.example.org
    ProxyJump none
Host uri
    ProxyJump ssh://other@gw:24/
Host token
    ProxyJump %r@gw
    User x
Host me*
    ProxyJump inner
`
	f := load(t, text)
	f.Hops = fleetssh.HostConfig{Host: "not used", Port: 1, Auth: fleetssh.Auth{NoAgent: true}, Attempts: 7}
	for alias, want := range map[string]string{
		"chain":  "gate@gw.example.org:2222,me@inner:23,::1",
		"direct": "",
		"uri":    "other@gw.example.org:24",
		"token":  "x@gw.example.org:2222",
	} {
		h, err := f.Host(alias, fleetssh.HostConfig{})
		if alias == "direct" && err != nil || h.Proxy == nil && alias != "direct" {
			t.Errorf("%s: %v", alias, err)
			continue
		}
		if got := hopsOf(h); got != want {
			t.Errorf("the hops to %s are %q, want %q", alias, got, want)
		}
	}
}

// TestHopOwnWay tests a hop that is behind a hop by its own configuration. As in ssh, this applies
// to the first hop of ProxyJump only.
func TestHopOwnWay(t *testing.T) {
	t.Parallel()
	f := load(t, "Host gw\n ProxyJump none\n HostName g\nHost inner\n ProxyJump gw\nHost web*\n ProxyJump inner\nHost x\n ProxyJump other,inner\n", "ServerAliveInterval=3")
	f.Hops.Attempts = 7
	web1, web2 := host(t, f, "web1", fleetssh.HostConfig{}), host(t, f, "web2", fleetssh.HostConfig{})
	if got := hopsOf(web1); got != "g,inner" {
		t.Errorf("the hops are %q", got)
	}
	if web1.Proxy != web2.Proxy {
		t.Error("two hosts have two pointers to the same hop")
	}
	if inner := host(t, f, "inner", fleetssh.HostConfig{}); inner.Proxy != web1.Proxy.Proxy {
		t.Error("the hop of the hop is another one")
	}
	if got := hopsOf(host(t, f, "x", fleetssh.HostConfig{})); got != "other,inner" {
		t.Errorf("the hops are %q", got)
	}
	if hop := web1.Proxy; hop.Attempts != 7 || hop.KeepAlive != 0 || hop.Proxy.Alias != "gw" {
		t.Errorf("the hop has %d attempts, keep-alives of %v and the hop %q before it", hop.Attempts, hop.KeepAlive, hop.Proxy.Alias)
	}
}

// A key that base requires is one of several for a hop.
func TestHopKeys(t *testing.T) {
	t.Parallel()
	f := load(t, "Host gw\n IdentityFile /gw\n CertificateFile /gw-cert\nHost web\n ProxyJump gw\n IdentityFile /web\nHost db\n ProxyJump plain\n")
	auth := fleetssh.Auth{KeyFile: "/k", CertFile: "/c"}
	f.Hops.Auth = auth
	web := host(t, f, "web", fleetssh.HostConfig{Auth: auth})
	if web.Auth.KeyFile != "/k" || web.Auth.CertFile != "/c" {
		t.Errorf("the host has %v", web.Auth)
	}
	if hop := web.Proxy.Auth; hop.KeyFile != "" || hop.CertFile != "" || !slices.Equal(hop.Identities, []string{"/k", "/gw"}) || !slices.Equal(hop.CertFiles, []string{"/c"}) {
		t.Errorf("the hop has %v", hop)
	}
	// The default keys are offered as well.
	if hop := host(t, f, "db", fleetssh.HostConfig{}).Proxy.Auth; len(hop.Identities) < 3 || hop.Identities[0] != "/k" {
		t.Errorf("a hop without keys of its own has %v", hop)
	}
}

// TestHopsAtOnce resolves hops on many goroutines.
func TestHopsAtOnce(t *testing.T) {
	t.Parallel()
	f := load(t, "Host gw\n ProxyJump none\nHost *\n ProxyJump gw\n StrictHostKeyChecking accept-new\n UserKnownHostsFile "+t.TempDir()+"/k\nMatch exec true\n User u\n")
	hosts := make([]fleetssh.HostConfig, 50)
	var wg sync.WaitGroup
	for i := range hosts {
		wg.Go(func() { hosts[i], _ = f.Host("web", fleetssh.HostConfig{}) })
	}
	wg.Wait()
	for _, h := range hosts {
		if h.Proxy == nil || h.Proxy != hosts[0].Proxy || h.HostKeys == nil || h.HostKeys != hosts[0].HostKeys || h.User != "u" {
			t.Fatalf("got %v by %p, want the hop %p and the same policy", h, h.Proxy, hosts[0].Proxy)
		}
	}
}

// TestHopGiven tests hops of an inventory: the configuration applies to them, given settings win,
// and hosts that share a hop still share it.
func TestHopGiven(t *testing.T) {
	t.Parallel()
	f := load(t, "Host gw\n  HostName gw.example.org\n  User gate\n  Port 2222\n  ProxyJump outer\nHost outer\n  User out\nHost inner\n  HostName 10.0.0.9\n  ProxyJump gw\n")
	if err := f.Options("User=option", "Port=9"); err != nil {
		t.Fatal(err)
	}
	f.Hops = fleetssh.HostConfig{Attempts: 7, HostKeys: fleetssh.InsecureIgnoreHostKeys{}, Auth: fleetssh.Auth{GSSAPI: &fleetssh.GSSAPI{}}}
	gw := &fleetssh.HostConfig{Host: "gw", Auth: fleetssh.Auth{KeyFile: "/k"}}
	for _, test := range []struct {
		hop  *fleetssh.HostConfig
		want string
	}{
		{gw, "out@outer,gate@gw.example.org:2222"},
		{&fleetssh.HostConfig{Host: "gw", User: "me", Port: 23}, "out@outer,me@gw.example.org:23"},
		{&fleetssh.HostConfig{Host: "inner", Proxy: gw}, "out@outer,gate@gw.example.org:2222,10.0.0.9"},
		{&fleetssh.HostConfig{Host: "unknown"}, "unknown"},
	} {
		hop, err := f.Hop(t.Context(), test.hop)
		if err != nil {
			t.Fatal(err)
		}
		if got := hopsOf(fleetssh.HostConfig{Proxy: hop}); got != test.want {
			t.Errorf("the hops through %s are %q, want %q", test.hop.Host, got, test.want)
		}
		if again, err := f.Hop(t.Context(), test.hop); err != nil || again != hop {
			t.Errorf("%s: another hop the second time, %v", test.hop.Host, err)
		}
		if hop.HostKeys == nil || hop.Auth.GSSAPI == nil || hop.Auth.KeyFile != "" || test.hop.Host == "inner" && hop.Proxy.Host != "gw.example.org" {
			t.Errorf("%s: %+v", test.hop.Host, hop)
		}
	}
	if hop, err := f.Hop(t.Context(), nil); hop != nil || err != nil {
		t.Errorf("none: %v, %v", hop, err)
	}
	if gw.Host != "gw" || gw.User != "" {
		t.Errorf("what was given has changed: %+v", gw)
	}
}
