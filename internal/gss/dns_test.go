//go:build unix

package gss

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"fleetssh/internal/kdctest"
)

// DNS record types (RFC 1035, section 3.2.2, and RFC 2782).
const (
	dnsA     = 1
	dnsCNAME = 5
	dnsTXT   = 16
	dnsSRV   = 33
)

// record is a DNS record with encoded data.
type record struct {
	kind uint16
	name string
	data []byte
}

// dnsName returns the encoding of a name.
func dnsName(name string) []byte {
	var b cryptobyte.Builder
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(label)) })
	}
	b.AddUint8(0)
	return b.BytesOrPanic()
}

// startDNS returns a resolver that uses a server with only these records.
func startDNS(t testing.TB, records ...record) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		query := make([]byte, 1<<12)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			server.WriteTo(answerDNS(query[:n], records), from)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// answerDNS answers a query with one question (RFC 1035, section 4.1).
func answerDNS(query []byte, records []record) []byte {
	rest := cryptobyte.String(query)
	var id, kind uint16
	rest.ReadUint16(&id)
	rest.Skip(10)
	start := len(query) - len(rest)
	var labels []string
	for {
		var label cryptobyte.String
		if !rest.ReadUint8LengthPrefixed(&label) || len(label) == 0 {
			break
		}
		labels = append(labels, string(label))
	}
	rest.ReadUint16(&kind)
	question := query[start : len(query)-len(rest)+2]
	asked := strings.Join(labels, ".")
	var found []record
	for _, r := range records {
		if strings.EqualFold(r.name, asked) && (r.kind == kind || r.kind == dnsCNAME) {
			found = append(found, r)
		}
	}
	for _, r := range found { // the records of the target of a CNAME
		for _, more := range records {
			if r.kind == dnsCNAME && more.kind == kind && string(dnsName(more.name)) == string(r.data) {
				found = append(found, more)
			}
		}
	}
	code := uint16(0x8580)
	if !slices.ContainsFunc(records, func(r record) bool { return strings.EqualFold(r.name, asked) }) {
		code |= 3 // no such name
	}
	var b cryptobyte.Builder
	for _, v := range []uint16{id, code, 1, uint16(len(found)), 0, 0} {
		b.AddUint16(v)
	}
	b.AddBytes(question)
	for _, r := range found {
		b.AddBytes(dnsName(r.name))
		b.AddUint16(r.kind)
		b.AddUint16(1)
		b.AddUint32(60)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(r.data) })
	}
	return b.BytesOrPanic()
}

func srv(name, target string, port uint16) record {
	return record{dnsSRV, name, append([]byte{0, 0, 0, 0, byte(port >> 8), byte(port)}, dnsName(target)...)}
}

// TestKDCsByDNS looks up KDCs in DNS if krb5.conf has none.
func TestKDCsByDNS(t *testing.T) {
	t.Parallel()
	resolver := startDNS(t, srv("_kerberos._udp.A.TEST", "kdc1.a.test", 88), srv("_kerberos._tcp.A.TEST", "kdc2.a.test", 750), srv("_kerberos._udp.NONE.TEST", "", 0))
	for text, want := range map[string]string{
		"":                                     "[{kdc1.a.test:88 udp} {kdc2.a.test:750 tcp}] <nil>",
		"[realms]\nA.TEST = {\nkdc = own\n}\n": "[{own:88 }] <nil>",
		"[libdefaults]\ndns_lookup_kdc = false\n": "has no KDC for realm A.TEST",
	} {
		c := parsedConfig(t, text)
		c.resolver = resolver
		list, err := c.kdcs(t.Context(), "A.TEST")
		if got := fmt.Sprint(list, err); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	c := parsedConfig(t, "")
	c.resolver = resolver
	for _, realm := range []string{"NONE.TEST", "NOSUCH.TEST"} {
		if list, err := c.kdcs(t.Context(), realm); err == nil || !strings.Contains(err.Error(), "nor DNS has a KDC for realm "+realm) {
			t.Errorf("%s: %v, %v", realm, list, err)
		}
	}
}

// TestRealmByDNS looks up the realm of a host in DNS, only if krb5.conf sets dns_lookup_realm.
func TestRealmByDNS(t *testing.T) {
	t.Parallel()
	c := parsedConfig(t, "[libdefaults]\ndns_lookup_realm = true\n")
	c.resolver = startDNS(t, record{dnsTXT, "_kerberos.a.test", []byte("\x06A.TEST")})
	for host, want := range map[string]string{"web1.a.test": "A.TEST", "a.test": "A.TEST", "web1.b.test": "", "web1": ""} {
		if got := c.lookUpRealm(t.Context(), host); got != want {
			t.Errorf("%s is in %q, want %q", host, got, want)
		}
	}
	never := parsedConfig(t, "")
	never.resolver = c.resolver
	if got := never.lookUpRealm(t.Context(), "web1.a.test"); got != "" {
		t.Errorf("asked DNS without dns_lookup_realm: %q", got)
	}
}

// TestCanonicalName gets a ticket by the canonical name of a host in DNS if the KDC does not know
// the given name.
func TestCanonicalName(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, kdctest.Options{Hosts: []string{"web1.test", "web2.test"}})
	k.AddPrincipal(t, "alice", testPassword)
	k.AddService(t, "host/web1.test")
	k.AddService(t, "host/web2.test")
	resolver := startDNS(t, record{dnsCNAME, "alias.test", dnsName("web1.test")}, record{dnsCNAME, "web2.test", dnsName("web1.test")},
		record{dnsA, "web1.test", []byte{127, 0, 0, 1}}, record{dnsA, "stranger.test", []byte{127, 0, 0, 1}})
	for _, test := range []struct{ setting, host, want string }{
		{"true", "alias.test", "host/web1.test@FLEET.TEST"},
		{"fallback", "alias.test", "host/web1.test@FLEET.TEST"},
		{"true", "web2.test", "host/web2.test@FLEET.TEST"}, // the KDC knows it: DNS is not asked
		{"false", "alias.test", ""},
		{"true", "stranger.test", ""},
		{"true", "nosuch.test", ""},
	} {
		c := NewCredentials(Options{Config: k.Config, Password: testPassword, Client: "alice"})
		cfg, err := readConfig(writeFile(t, t.TempDir(), "krb5.conf", "[libdefaults]\ndns_canonicalize_hostname = "+test.setting+"\n") + ":" + k.Config)
		if err != nil {
			t.Fatal(err)
		}
		cfg.resolver = resolver
		if _, err := c.configs.do(t.Context(), "", func(context.Context) (*config, error) { return cfg, nil }); err != nil {
			t.Fatal(err)
		}
		x, err := begin(c, test.host)
		if test.want == "" {
			wantError(t, err, `get a ticket for host/`+test.host+`@FLEET.TEST as alice@FLEET.TEST: the KDC does not know this service; .*`)
		} else if err != nil || x.Service() != test.want {
			t.Errorf("%s, %s: %q, %v", test.setting, test.host, x.Service(), err)
		}
	}
}
