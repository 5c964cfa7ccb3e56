package sshconfig_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/sshconfig"
)

// load loads a configuration from text.
func load(t testing.TB, text string, options ...string) *sshconfig.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := sshconfig.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Options(options...); err != nil {
		t.Fatal(err)
	}
	return f
}

// host returns the configuration of an alias.
func host(t testing.TB, f *sshconfig.File, alias string, base fleetssh.HostConfig) fleetssh.HostConfig {
	t.Helper()
	h, err := f.Host(alias, base)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHost(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "/agent")
	t.Setenv("OTHER_AGENT", "/other")
	ask := func(context.Context, fleetssh.Question) (string, error) { return "", nil }
	type config = fleetssh.HostConfig
	auth := func(a fleetssh.Auth) config { return config{Host: "web", Auth: a} }
	for _, test := range []struct {
		name, text string
		base, want config
	}{
		{"nothing", "", config{}, config{Host: "web"}},
		{"name, user and port", "HostName %h.example.org\nUser alice\nPort 23", config{}, config{Host: "web.example.org", Alias: "web", User: "alice", Port: 23}},
		{"what is given wins", "HostName h\nUser alice\nPort 23", config{Host: "10.0.0.1", Alias: "w", User: "bob", Port: 24}, config{Host: "10.0.0.1", Alias: "w", User: "bob", Port: 24}},
		{"the alias as Host is no name given", "HostName h", config{Host: "web"}, config{Host: "h", Alias: "web"}},
		{"what is given counts in Match", "Match user bob host 10.0.0.1\nHostKeyAlias k", config{Host: "10.0.0.1", User: "bob"}, config{Host: "10.0.0.1", Alias: "web", User: "bob", HostKeyAlias: "k"}},
		{"family", "AddressFamily inet6", config{}, config{Host: "web", AddressFamily: "ip6"}},
		{"patience", "ConnectTimeout 1m30\nConnectionAttempts 4\nServerAliveInterval 15", config{}, config{Host: "web", ConnectTimeout: 90 * time.Second, Attempts: 4, KeepAlive: 15 * time.Second}},
		{"patience given", "ConnectTimeout 1m\nConnectionAttempts 4\nServerAliveInterval 15", config{ConnectTimeout: 1, Attempts: 2, KeepAlive: 3}, config{Host: "web", ConnectTimeout: 1, Attempts: 2, KeepAlive: 3}},
		{"no keep-alives", "ServerAliveInterval 0\nConnectTimeout none", config{}, config{Host: "web", KeepAlive: -1}},
		{"impatient keep-alives", "ServerAliveInterval 30\nServerAliveCountMax 1", config{}, config{Host: "web", KeepAlive: 10 * time.Second}},
		{"identities", "IdentityFile /a\nIdentityFile none\nIdentityFile /%h-%r\nUser u\nIdentitiesOnly yes", config{}, config{Host: "web", User: "u", Auth: fleetssh.Auth{Identities: []string{"/a", "/web-u"}, IdentitiesOnly: true}}},
		{"no identities", "IdentityFile none", config{}, auth(fleetssh.Auth{NoDefaultKeys: true, Identities: []string{}})},
		{"identities given", "IdentityFile /a", config{Auth: fleetssh.Auth{Identities: []string{"/b"}}}, auth(fleetssh.Auth{Identities: []string{"/b"}})},
		{"agent", "IdentityAgent /x/%r\nUser u", config{}, config{Host: "web", User: "u", Auth: fleetssh.Auth{AgentSocket: "/x/u"}}},
		{"agent of a variable", "IdentityAgent $OTHER_AGENT", config{}, auth(fleetssh.Auth{AgentSocket: "/other"})},
		{"agent of no variable", "IdentityAgent $NO_SUCH_VARIABLE", config{}, auth(fleetssh.Auth{NoAgent: true})},
		{"no agent", "IdentityAgent none\nForwardAgent yes", config{}, auth(fleetssh.Auth{NoAgent: true})},
		{"the usual agent", "IdentityAgent SSH_AUTH_SOCK\nForwardAgent yes", config{}, config{Host: "web", ForwardAgent: true, Auth: fleetssh.Auth{AgentSocket: "/agent"}}},
		{"forwarded", "ForwardAgent yes", config{}, config{Host: "web", ForwardAgent: true}},
		{"forwarded by path", "ForwardAgent /agent", config{}, config{Host: "web", ForwardAgent: true}},
		{"another agent forwarded", "ForwardAgent $OTHER_AGENT", config{}, config{Host: "web"}},
		{"forwarding given", "ForwardAgent no", config{ForwardAgent: true}, config{Host: "web", ForwardAgent: true}},
		{"no keys", "PubkeyAuthentication no\nIdentityFile /a", config{}, auth(fleetssh.Auth{NoAgent: true, NoDefaultKeys: true, Methods: []string{"keyboard-interactive", "password"}})},
		{"no keys, not even a given one", "PubkeyAuthentication no", config{Auth: fleetssh.Auth{KeyFile: "/k"}}, auth(fleetssh.Auth{KeyFile: "/k", Methods: []string{"keyboard-interactive", "password"}})},
		{"no bare password", "PasswordAuthentication no", config{Auth: fleetssh.Auth{Password: "p"}}, auth(fleetssh.Auth{Password: "p", Methods: []string{"publickey", "keyboard-interactive"}})},
		{"no questions", "ChallengeResponseAuthentication no", config{Auth: fleetssh.Auth{Password: "p"}}, auth(fleetssh.Auth{Password: "p", Methods: []string{"publickey", "password"}})},
		{"a method that is not ours", "PreferredAuthentications hostbased", config{}, auth(fleetssh.Auth{NoAgent: true, NoDefaultKeys: true, Methods: []string{"gssapi-with-mic"}})},
		{"no method given up for Kerberos", "PreferredAuthentications publickey", config{Auth: fleetssh.Auth{GSSAPI: &fleetssh.GSSAPI{}}}, auth(fleetssh.Auth{GSSAPI: &fleetssh.GSSAPI{}, Methods: []string{"publickey", "gssapi-with-mic"}})},
		{"no passwords", "PasswordAuthentication no\nKbdInteractiveAuthentication no", config{Auth: fleetssh.Auth{Password: "p", Ask: ask}}, auth(fleetssh.Auth{Passphrase: "p", Methods: []string{"publickey"}})},
		{"methods", "PreferredAuthentications publickey\nGSSAPIAuthentication yes", config{Auth: fleetssh.Auth{Password: "p", Ask: ask}}, auth(fleetssh.Auth{Passphrase: "p", Methods: []string{"publickey"}})},
		{"batch", "BatchMode yes", config{Auth: fleetssh.Auth{Password: "p", Ask: ask}}, auth(fleetssh.Auth{Password: "p"})},
		{"Kerberos", "GSSAPIAuthentication yes\nGSSAPIDelegateCredentials yes\nGSSAPIServerIdentity s\nGSSAPIClientIdentity c", config{}, auth(fleetssh.Auth{GSSAPI: &fleetssh.GSSAPI{ServerIdentity: "s", ClientIdentity: "c", Delegate: true, IfTicket: true}})},
		{"Kerberos given", "GSSAPIAuthentication yes\nGSSAPIDelegateCredentials yes", config{Auth: fleetssh.Auth{GSSAPI: &fleetssh.GSSAPI{}}}, auth(fleetssh.Auth{GSSAPI: &fleetssh.GSSAPI{}})},
		{"master", "ControlPath /m/%C-%n-%h-%p-%%\nHostName h", config{}, config{Host: "h", Alias: "web", ControlPath: "/m/%C-web-h-22-%%"}},
		{"no master", "ControlPath none", config{}, config{Host: "web"}},
		{"algorithms", "Ciphers aes256-ctr,nothing\nMACs ^hmac-sha2-512\nKexAlgorithms curve25519-sha256@libssh.org\nHostKeyAlgorithms ssh-ed25519", config{},
			config{Host: "web", Algorithms: &fleetssh.Algorithms{
				Ciphers: []string{"aes256-ctr"}, KeyExchanges: []string{"curve25519-sha256"}, HostKeys: []string{"ssh-ed25519"},
				MACs: []string{"hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"},
			}}},
		{"algorithms added and taken away", "Ciphers +aes128-cbc\nMACs -*512*", config{},
			config{Host: "web", Algorithms: &fleetssh.Algorithms{
				Ciphers: []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-cbc"},
				MACs:    []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"},
			}}},
		{"algorithms given", "Ciphers aes256-ctr", config{Algorithms: &fleetssh.Algorithms{Ciphers: []string{"aes128-ctr"}}}, config{Host: "web", Algorithms: &fleetssh.Algorithms{Ciphers: []string{"aes128-ctr"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := host(t, load(t, test.text), "web", test.base)
			if (got.Auth.Ask == nil) != (test.want.Auth.Ask == nil) {
				t.Error("whether something is asked differs")
			}
			got.Auth.Ask = nil
			if g, w := values(got), values(test.want); g != w {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		})
	}
}

// values formats a HostConfig including its secrets.
func values(h fleetssh.HostConfig) string {
	var b strings.Builder
	var write func(v reflect.Value)
	write = func(v reflect.Value) {
		switch {
		case v.Kind() == reflect.Pointer && !v.IsNil():
			write(v.Elem())
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if !v.Field(i).IsZero() {
					fmt.Fprintf(&b, "%s: ", v.Type().Field(i).Name)
					write(v.Field(i))
				}
			}
		default:
			fmt.Fprintf(&b, "%v; ", v)
		}
	}
	write(reflect.ValueOf(h))
	return b.String()
}

// Certificates in a file are offered, even in addition to a key that base requires. The package
// does not check whether they can be used.
func TestCertificates(t *testing.T) {
	t.Parallel()
	f := load(t, "CertificateFile /no/such/file\nCertificateFile none\nCertificateFile /c-%h\n")
	want := []string{"/no/such/file", "/c-web"}
	for _, auth := range []fleetssh.Auth{{}, {KeyFile: "/k"}} {
		got := host(t, f, "web", fleetssh.HostConfig{Auth: auth}).Auth
		if !slices.Equal(got.CertFiles, want) || got.CertFile != "" {
			t.Errorf("CertFiles are %q, CertFile is %q", got.CertFiles, got.CertFile)
		}
	}
	got := host(t, f, "web", fleetssh.HostConfig{Auth: fleetssh.Auth{CertFile: "/given"}}).Auth
	if got.CertFiles != nil || got.CertFile != "/given" {
		t.Errorf("CertFiles are %q, CertFile is %q", got.CertFiles, got.CertFile)
	}
	if notes := f.Unsupported(); len(notes) > 0 {
		t.Errorf("unsupported: %v", notes)
	}
}

// TestErrors checks that errors have file and line.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"unknown keyword", "User a\nFoo bar\n", `config:2: "foo" is not a keyword of ssh_config`},
		{"empty algorithms", "\nCiphers foo,bar\n", `config:2: Ciphers: no algorithm is left of "foo,bar" (fleetssh has no foo, bar)`},
		{"token", "HostName %z", `config:1: HostName: "%z" is not a token that is allowed here`},
		{"variable", "IdentityFile ${NO_SUCH_VARIABLE}", "config:1: IdentityFile: the variable NO_SUCH_VARIABLE is not set"},
		{"refused", "Match host web\nRefuseConnection not this one\n", "config:2: RefuseConnection: not this one"},
		{"token of a command", "ProxyCommand nc %z", `config:1: ProxyCommand: "%z" is not a token that is allowed here`},
		{"loop", "ProxyJump web", "config:1: ProxyJump web: the hop leads to itself"},
		{"longer loop", "Host web\nProxyJump a\nHost a\nProxyJump b\nHost b\nProxyJump a", "config:2: ProxyJump a: "},
		{"error of a hop", "Host web\nProxyJump gw\nHost gw\nCiphers x", "config:2: ProxyJump gw: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.text).Host("web", fleetssh.HostConfig{})
			e, ok := errors.AsType[*sshconfig.Error](err)
			if !ok || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			if e.Line == 0 || filepath.Base(e.File) != "config" {
				t.Errorf("the error is at %s:%d", e.File, e.Line)
			}
		})
	}
}

func TestProxyCommand(t *testing.T) {
	t.Parallel()
	f := load(t, "User u\nHostName h\nProxyCommand printf '%%s' %n-%r-%h-%p\n")
	h := host(t, f, "web", fleetssh.HostConfig{})
	if h.DialContext == nil {
		t.Fatal("there is no DialContext")
	}
	conn, err := h.DialContext(t.Context(), "tcp", "h:22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	if got := string(buf[:n]); got != "web-u-h-22" {
		t.Errorf("the command wrote %q (%v)", got, err)
	}
	if h := host(t, f, "web", fleetssh.HostConfig{Proxy: &fleetssh.HostConfig{Host: "gw"}}); h.DialContext != nil || h.Proxy.Host != "gw" {
		t.Error("a given Proxy does not win")
	}
	if h := host(t, load(t, "ProxyCommand none"), "web", fleetssh.HostConfig{}); h.DialContext != nil {
		t.Error("none is a command")
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	f := load(t, `
Host web
    RekeyLimit 1G
    LogLevel DEBUG
    RequestTTY auto
    Compression no
    StrictHostKeyChecking no
    HashKnownHosts yes
Host db
    LocalForward 80 localhost:80
    Ciphers aes128-ctr,foo
    PreferredAuthentications password,publickey
    ServerAliveInterval 5
    ServerAliveCountMax 10
    RequestTTY force
Host pw
    PasswordAuthentication no
Match version 10
    User never
`, "RemoteCommand=uptime")
	lines := func(all []sshconfig.Unsupported) string {
		var b strings.Builder
		for _, u := range all {
			minor := ""
			if u.Minor {
				minor = " (minor)"
			}
			fmt.Fprintf(&b, "%d %s%s; ", u.Line, u.Keyword, minor)
		}
		return b.String()
	}
	if got, want := lines(f.Unsupported()), "3 RekeyLimit; 10 LocalForward; 15 RequestTTY; 18 Match version; 0 RemoteCommand; "; got != want {
		t.Errorf("in all: %s, want %s", got, want)
	}
	for alias, want := range map[string]string{
		"web": "3 RekeyLimit; 0 RemoteCommand; 7 StrictHostKeyChecking (minor); ",
		"db":  "10 LocalForward; 0 RemoteCommand; 15 RequestTTY; 11 Ciphers (minor); 12 PreferredAuthentications; 14 ServerAliveCountMax; ",
		"pw":  "0 RemoteCommand; ",
	} {
		s, err := f.Resolve(alias, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(s.Unsupported()); got != want {
			t.Errorf("%s: %s, want %s", alias, got, want)
		}
	}
	if got, want := f.Unsupported()[4].String(), "-o: RemoteCommand uptime: has no effect"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	f := load(t, "Host web\n  User u\n  SetEnv A=1 B=2\n  SendEnv LC_*\n  IdentityFile /a\n", "Port=5")
	s, err := f.Resolve("web", "me")
	if err != nil {
		t.Fatal(err)
	}
	if s.Alias != "web" || s.HostName != "web" || s.User != "me" || s.Port != 5 {
		t.Errorf("got %+v", s)
	}
	if env := s.SetEnv(); len(env) != 2 || env["A"] != "1" || env["B"] != "2" {
		t.Errorf("SetEnv is %v", env)
	}
	if got := s.SendEnv(); len(got) != 1 || got[0] != "LC_*" {
		t.Errorf("SendEnv is %v", got)
	}
	for name, want := range map[string]string{"user": "argument", "PORT": "-o", "IdentityFile": "config:5", "HostName": "default"} {
		if v := s.Values(name); len(v) != 1 || !strings.HasSuffix(v[0].Origin, want) {
			t.Errorf("%s comes from %v, want %s", name, v, want)
		}
	}
	for _, v := range s.All() {
		if v.Keyword == "ConnectionAttempts" && (v.Value != "1" || v.Origin != "default") {
			t.Errorf("got %+v", v)
		}
	}
	if v := s.Values("LogLevel"); v != nil {
		t.Errorf("LogLevel is %v", v)
	}
}

// TestEnvironment checks that SendEnv and SetEnv send the same variables as in ssh.
func TestEnvironment(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("LC_LONG", strings.Repeat("x", 9<<10))
	t.Setenv("OTHER", "here")
	f := load(t, "SendEnv LC_* OTHER\nSendEnv -LC_TIME\nSetEnv FOO=bar OTHER=set EMPTY=\nSetEnv LATER=1\n")
	got := host(t, f, "web", fleetssh.HostConfig{SendEnv: map[string]string{"FOO": "mine"}}).SendEnv
	for name, want := range map[string]string{"LC_ALL": "C.UTF-8", "FOO": "mine", "OTHER": "set", "EMPTY": ""} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %q, %v", name, value, ok)
		}
	}
	for _, name := range []string{"LC_LONG", "LATER", "PATH"} {
		if value, ok := got[name]; ok {
			t.Errorf("%s is %q", name, value)
		}
	}
	for i := range 200 {
		t.Setenv(fmt.Sprintf("LC_%d", i), "x")
	}
	if got := host(t, f, "web", fleetssh.HostConfig{}).SendEnv; len(got) != 128 || got["FOO"] != "bar" {
		t.Errorf("%d variables", len(got))
	}
	if got := host(t, load(t, "User a"), "web", fleetssh.HostConfig{}).SendEnv; got != nil {
		t.Errorf("%v", got)
	}
}

// TestHostContext checks that commands and look-ups end with the context.
func TestHostContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	_, _, err := load(t, "Match exec \"sleep 4711\"\nUser x").HostContext(ctx, "web", fleetssh.HostConfig{})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
