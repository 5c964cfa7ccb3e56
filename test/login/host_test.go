package login

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
)

func TestParseHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   string
		want fleetssh.HostConfig
		ok   bool
	}{
		{"web1", fleetssh.HostConfig{Host: "web1"}, true},
		{"deploy@web1:2222", fleetssh.HostConfig{Host: "web1", User: "deploy", Port: 2222}, true},
		{"alice@example.org@web1", fleetssh.HostConfig{Host: "web1", User: "alice@example.org"}, true},
		{"192.0.2.1:22", fleetssh.HostConfig{Host: "192.0.2.1", Port: 22}, true},
		{"::1", fleetssh.HostConfig{Host: "::1"}, true},
		{"[::1]", fleetssh.HostConfig{Host: "::1"}, true},
		{"bob@[fe80::1%eth0]:2222", fleetssh.HostConfig{Host: "fe80::1%eth0", User: "bob", Port: 2222}, true},
		{"", fleetssh.HostConfig{}, false},
		{"@web1", fleetssh.HostConfig{}, false},
		{"web1:", fleetssh.HostConfig{}, false},
		{"web1:0", fleetssh.HostConfig{}, false},
		{"web1:65536", fleetssh.HostConfig{}, false},
		{"web1:ssh", fleetssh.HostConfig{}, false},
		{"web1:+1", fleetssh.HostConfig{}, false},
		{"[::1", fleetssh.HostConfig{}, false},
		{"[::1]22", fleetssh.HostConfig{}, false},
		{"-oProxyCommand=id", fleetssh.HostConfig{}, false},
		{"[:]", fleetssh.HostConfig{}, false},
		{"a:b:c", fleetssh.HostConfig{}, false},
		{"a b", fleetssh.HostConfig{}, false},
		{"a\nb", fleetssh.HostConfig{}, false},
		{"a\x1b[2J", fleetssh.HostConfig{}, false},
	} {
		got, err := fleetssh.ParseHost(test.in)
		if test.ok != (err == nil) || got.String() != test.want.String() || got.Host != test.want.Host || got.Port != test.want.Port || got.User != test.want.User {
			t.Errorf("ParseHost(%q) = %v, %v", test.in, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "host") {
			t.Errorf("ParseHost(%q): %v does not mention the host", test.in, err)
		}
	}
}

// FuzzParseHost checks that ParseHost reads back what String writes.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"web1", "u@h:1", "[::1]:22", "::1", "a@b@c", "[", "@", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := fleetssh.ParseHost(s)
		if err != nil {
			return
		}
		again, err := fleetssh.ParseHost(h.String())
		port := h.Port
		if port == 22 {
			port = 0 // String leaves out the default
		}
		if err != nil || again.Host != h.Host || again.User != h.User || again.Port != port {
			t.Errorf("%q -> %#v -> %q -> %#v, %v", s, h, h.String(), again, err)
		}
	})
}

func TestHosts(t *testing.T) {
	t.Parallel()
	hosts := fleetssh.Hosts(fleetssh.HostConfig{User: "ops", Port: 2222}, "a", "b")
	if len(hosts) != 2 || hosts[1].String() != "ops@b:2222" || hosts[0].Host != "a" {
		t.Errorf("%v", hosts)
	}
	hosts[0].Alias = "first"
	if hosts[0].String() != "first" {
		t.Errorf("alias: %v", hosts[0])
	}
}

// secretHost returns a host with every field that may hold a secret filled in.
func secretHost(t *testing.T) (fleetssh.HostConfig, []string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "s3cret"
	host := fleetssh.HostConfig{
		Host: "web1", User: "alice", Port: 2222,
		Auth: fleetssh.Auth{
			KeyFile: "/keys/id", KeyData: []byte(secret + "-key"), CertData: []byte(secret + "-cert"),
			Passphrase: secret + "-phrase", Password: secret + "-word", Signers: []ssh.Signer{signer},
			GSSAPI: &fleetssh.GSSAPI{ClientIdentity: "alice", Password: secret + "-ticket"},
			Ask:    func(context.Context, fleetssh.Question) (string, error) { return secret, nil },
		},
	}
	// As text, as numbers, as hexadecimal and as base64.
	hop := host
	host.Proxy = &hop
	return host, []string{secret, "115 51 99", "115, 51", "733363726574", "0x73", "czNjcmV0", fmt.Sprint([]byte(key[:4]))[1:8]}
}

func TestNoSecretsInPrint(t *testing.T) {
	t.Parallel()
	host, secrets := secretHost(t)
	var texts []string
	// All verbs except p and w: for these fmt ignores a value's own methods, and vet rejects them.
	for _, verb := range "vTtbcdoOqxXUeEfFgGszZ!" {
		for _, flags := range []string{"", "+", "#", "-20", "0", " "} {
			format := "%" + flags + string(verb)
			for _, value := range []any{host, &host, host.Auth, &host.Auth, host.Auth.GSSAPI, *host.Auth.GSSAPI, fleetssh.Login{Host: host}, fleetssh.Plan{Host: host}, []fleetssh.HostConfig{host}, map[string]fleetssh.Auth{"a": host.Auth}, struct{ H fleetssh.HostConfig }{host}} {
				texts = append(texts, fmt.Sprintf(format, value))
			}
		}
	}
	for _, value := range []any{host, &host, host.Auth, host.Auth.GSSAPI, fleetssh.Login{Host: host}, fleetssh.Plan{Host: host}, []fleetssh.HostConfig{host}} {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(data))
	}
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("x", "host", host, "pointer", &host, "auth", host.Auth, "gssapi", host.Auth.GSSAPI, "list", []fleetssh.HostConfig{host})
		texts = append(texts, b.String())
	}
	for _, text := range texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Fatalf("%q is in %q", secret, text)
			}
		}
	}
	if text := fmt.Sprintf("%v %s %+v", host, host, host.Auth); !strings.Contains(text, "alice@web1:2222") || !strings.Contains(text, "password") {
		t.Errorf("the host or the kind of credentials is missing: %s", text)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	good := fleetssh.HostConfig{Host: "127.0.0.1"}
	for _, test := range []struct {
		field  string
		change func(*fleetssh.HostConfig)
	}{
		{"HostConfig.Host", func(h *fleetssh.HostConfig) { h.Host = "" }},
		{"HostConfig.Host", func(h *fleetssh.HostConfig) { h.Host = "a b" }},
		{"HostConfig.Port", func(h *fleetssh.HostConfig) { h.Port = 70000 }},
		{"HostConfig.AddressFamily", func(h *fleetssh.HostConfig) { h.AddressFamily = "ipx" }},
		{"HostConfig.ConnectTimeout", func(h *fleetssh.HostConfig) { h.ConnectTimeout = -1 }},
		{"HostConfig.Attempts", func(h *fleetssh.HostConfig) { h.Attempts = -1 }},
		{"HostConfig.User", func(h *fleetssh.HostConfig) { h.User = "a\x00" }},
		{"HostConfig.Algorithms.Ciphers", func(h *fleetssh.HostConfig) {
			h.Algorithms = &fleetssh.Algorithms{Ciphers: []string{"rot13"}}
		}},
	} {
		bad := good
		test.change(&bad)
		_, err := fleetssh.Dial(t.Context(), bad)
		if e, ok := errors.AsType[*fleetssh.ConfigError](err); !ok || e.Field != test.field {
			t.Errorf("Dial: %v, want an error about %s", err, test.field)
		}
		p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{good, bad}}
		outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
		if e, ok := errors.AsType[*fleetssh.ConfigError](err); !ok || e.Field != test.field || e.Index != 1 || outs != nil {
			t.Errorf("RunCommand: %v, want an error about %s on host 1", err, test.field)
		}
	}
}
