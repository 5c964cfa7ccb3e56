package sshconfig_test

import (
	"context"
	"net"
	"testing"

	"fleetssh/sshconfig"
)

// names is a Resolver: the canonical name of each name.
type names map[string]string

func (n names) LookupHost(_ context.Context, name string) ([]string, error) {
	if _, ok := n[name]; !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return []string{"192.0.2.1"}, nil
}

func (n names) LookupCNAME(_ context.Context, name string) (string, error) {
	return n[name] + ".", nil
}

func TestCanonicalize(t *testing.T) {
	t.Parallel()
	dns := names{
		"web.b.example":   "web.b.example",
		"two.a.example":   "two.a.example",
		"two.b.example":   "two.b.example",
		"www.b.example":   "real.c.example",
		"away.b.example":  "evil.example",
		"sub.x.b.example": "sub.x.b.example",
		"full.example.":   "full.example",
		"plain":           "other.c.example",
	}
	const domains = "CanonicalDomains a.example b.example\nCanonicalizePermittedCNAMEs *.b.example:*.c.example\n"
	const on = "CanonicalizeHostname yes\n" + domains
	const matched = "Match canonical host *.b.example\n User canonical\nMatch host *.b.example\n Port 5\nHost web.b.example\n HostKeyAlias second\n"
	for _, test := range []struct{ name, text, alias, want, user string }{
		{"off", domains[:34], "web", "web", ""},
		{"second domain", on + matched, "WEB", "web.b.example", "canonical"},
		{"first domain", on, "two", "two.a.example", ""},
		{"CNAME that is permitted", on, "www", "real.c.example", ""},
		{"CNAME that is not", on, "away", "away.b.example", ""},
		{"one dot", on, "sub.x", "sub.x.b.example", ""},
		{"too many dots", on + "CanonicalizeMaxDots 0\n", "sub.x", "sub.x", ""},
		{"a dot at the end", on, "full.example.", "full.example", ""},
		{"nowhere", on, "missing", "missing", ""},
		{"HostName", on + "HostName web\n", "x", "web.b.example", ""},
		{"by a hop", on + "ProxyJump gw\n", "web", "web", ""},
		{"always by a hop", "CanonicalizeHostname always\n" + on + "ProxyJump gw\n", "web", "web.b.example", ""},
		{"by a command", on + "ProxyCommand x\n", "web", "web", ""},
		{"no domains", "CanonicalizeHostname yes\nCanonicalDomains none\n", "web", "web", ""},
		{"CNAME only", "CanonicalizePermittedCNAMEs plain:*.c.example\n", "plain", "other.c.example", ""},
		{"address", on, "127.1", "127.0.0.1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := load(t, test.text)
			f.Resolver = dns
			s, err := f.Resolve(test.alias, "")
			if err != nil {
				t.Fatal(err)
			}
			if s.HostName != test.want {
				t.Errorf("the host is %q, want %q", s.HostName, test.want)
			}
			if test.user != "" && (s.User != test.user || s.Port != 5 || s.Values("HostKeyAlias") == nil) {
				t.Errorf("the second pass found user %q, port %d and alias %v", s.User, s.Port, s.Values("HostKeyAlias"))
			}
		})
	}
	f := load(t, on+"CanonicalizeFallbackLocal no\n")
	f.Resolver = dns
	if s, err := f.Resolve("missing", ""); err == nil {
		t.Errorf("a host in none of the domains is %s", s.HostName)
	}
	var _ sshconfig.Resolver = net.DefaultResolver
}
