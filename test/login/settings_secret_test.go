package login

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
)

// shownSettings are the settings of a host that may be printed. TestSecretSettingsAreNotPrinted
// fails for any other setting that is printed: a new one is secret until it is listed here.
var shownSettings = []string{
	"BindAddress", "Auth.Methods", "Auth.CertFiles", "Host", "Alias", "User", "HostKeyAlias", "ControlPath", "AddressFamily",
	"Algorithms.KeyExchanges", "Algorithms.Ciphers", "Algorithms.MACs", "Algorithms.HostKeys", "Algorithms.UserKeys", "Algorithms.CASignatures",
	"Algorithms.NoHostKeys", "Algorithms.MoreHostKeys", "RevokedHostKeys",
	"Auth.KeyFile", "Auth.CertFile", "Auth.Identities", "Auth.AgentSocket",
	"Auth.GSSAPI.ServerIdentity", "Auth.GSSAPI.ClientIdentity", "Auth.GSSAPI.Keytab", "Auth.GSSAPI.Cache", "Auth.GSSAPI.Config",
}

// mark puts a unique text into every field of v that can hold one, and adds the texts to marks by
// the path of the field.
func mark(v reflect.Value, path string, marks map[string]string) {
	text := fmt.Sprintf("m4rk%dx", len(marks))
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.IsExported() {
				mark(v.Field(i), strings.TrimPrefix(path+"."+field.Name, "."), marks)
			}
		}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[fleetssh.HostConfig]() {
			v.Set(reflect.New(v.Type().Elem()))
			mark(v.Elem(), path, marks)
		}
	case reflect.String:
		v.SetString(text)
		marks[path] = text
	case reflect.Slice:
		switch v.Type().Elem().Kind() {
		case reflect.Uint8:
			v.SetBytes([]byte(text))
			marks[path] = text
		case reflect.String:
			v.Set(reflect.ValueOf([]string{text}).Convert(v.Type()))
			marks[path] = text
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.ValueOf(map[string]string{"name": text}))
			marks[path] = text
		}
	}
}

// printed returns a value in every form in which programs print it.
func printed(t *testing.T, values ...any) string {
	t.Helper()
	var b bytes.Buffer
	for _, value := range values {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
			fmt.Fprintf(&b, format+"\n", value)
		}
		if data, err := json.Marshal(value); err == nil {
			b.Write(data)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "value", value)
	}
	return b.String()
}

// spelled returns the forms in which a text may appear in output: plain, as numbers, in hexadecimal
// and in base64.
func spelled(text string) []string {
	numbers := strings.Trim(fmt.Sprint([]byte(text)), "[]")
	encoded, _ := json.Marshal([]byte(text))
	return []string{text, numbers, strings.ReplaceAll(numbers, " ", ", "), fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("% x", text), strings.Trim(string(encoded), `"=`)}
}

// A setting of a host is printed only if it is listed as harmless.
func TestSecretSettingsAreNotPrinted(t *testing.T) {
	t.Parallel()
	var host fleetssh.HostConfig
	marks := make(map[string]string)
	mark(reflect.ValueOf(&host).Elem(), "", marks)
	for _, path := range []string{"Auth.Password", "Auth.Passphrase", "Auth.KeyData", "Auth.GSSAPI.Password", "Host"} {
		if marks[path] == "" {
			t.Errorf("%s is not marked", path)
		}
	}
	hop := host
	host.Proxy = &hop
	text := printed(t, host, &host, host.Auth, host.Auth.GSSAPI, []fleetssh.HostConfig{host}, fleetssh.Login{Host: host}, fleetssh.Plan{Host: host},
		struct{ H fleetssh.HostConfig }{host}, map[string]any{"h": host, "a": host.Auth}, fleetssh.CopyResult{Host: host}, &fleetssh.HostOutput{Host: host})
	for path, marked := range marks {
		if slices.Contains(shownSettings, path) {
			continue
		}
		for _, spelling := range spelled(marked) {
			if strings.Contains(text, spelling) {
				t.Errorf("HostConfig.%s is printed, and not listed as harmless", path)
				break
			}
		}
	}
}

// An error never contains a secret of its host or command.
func TestErrorsHaveNoSecrets(t *testing.T) {
	t.Parallel()
	const secret = "s3cret-w0rd"
	server := fleettest.NewServer(t, nil)
	base := server.Config()
	failing := map[string]func(*fleetssh.HostConfig){
		"refused password": func(h *fleetssh.HostConfig) {
			h.Auth = fleetssh.Auth{Password: secret, NoAgent: true, NoDefaultKeys: true}
		},
		"refused answer": func(h *fleetssh.HostConfig) {
			h.Auth = fleetssh.Auth{NoAgent: true, NoDefaultKeys: true, Ask: func(context.Context, fleetssh.Question) (string, error) { return secret, nil }}
		},
		"key that is not one":         func(h *fleetssh.HostConfig) { h.Auth = fleetssh.Auth{KeyData: []byte(secret)} },
		"certificate that is not one": func(h *fleetssh.HostConfig) { h.Auth.CertData = []byte(secret) },
		"passphrase of a missing key": func(h *fleetssh.HostConfig) { h.Auth = fleetssh.Auth{KeyFile: "/none", Passphrase: secret} },
		"Kerberos password": func(h *fleetssh.HostConfig) {
			h.Auth = fleetssh.Auth{NoAgent: true, NoDefaultKeys: true, GSSAPI: &fleetssh.GSSAPI{Password: secret}}
		},
		"password with NUL":    func(h *fleetssh.HostConfig) { h.Auth.Password = secret + "\x00"; h.Port = 70000 },
		"password for a proxy": func(h *fleetssh.HostConfig) { h.DialContext = proxyTo(t, "socks5://user:"+secret+"@127.0.0.1:1") },
		"token for a proxy":    func(h *fleetssh.HostConfig) { h.DialContext = proxyTo(t, "http://"+secret+"@127.0.0.1:1") },
		"proxy command":        func(h *fleetssh.HostConfig) { h.DialContext = commandTo(t, "exit 1 # "+secret) },
		"missing proxy command": func(h *fleetssh.HostConfig) {
			h.DialContext = commandTo(t, "/none/such --token "+secret+" 2>/dev/null")
		},
	}
	for name, change := range failing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := base
			host.Attempts = 1
			change(&host)
			client, err := fleetssh.Dial(t.Context(), host)
			if err == nil {
				client.Close()
				t.Fatal("no error")
			}
			expectNoSecret(t, secret, err)
			hop := host
			behind := base
			behind.Proxy = &hop
			_, err = fleetssh.Dial(t.Context(), behind)
			expectNoSecret(t, secret, err)
			fleet := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, behind}}
			defer fleet.Close()
			expectNoSecret(t, secret, fleet.Connect(t.Context()))
		})
	}
	commands := map[string]fleetssh.Command{
		"value with NUL":      {Line: "true", Env: map[string]string{"A": secret + "\x00"}},
		"invalid name":        {Line: "true", Env: map[string]string{"=": secret}},
		"invalid interpreter": {Script: &fleetssh.Script{Text: []byte("#!" + "relative " + secret + "\n")}, Shell: "sh"},
		"arguments":           {Line: "%(x)s", HostArgs: []fleetssh.Args{{Map: map[string]string{"y": secret}}}},
	}
	for name, command := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := command.CommandLine(0)
			expectNoSecret(t, secret, err)
		})
	}
}

func proxyTo(t *testing.T, url string) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	dial, err := fleetssh.DialProxy(url)
	if err != nil {
		t.Fatal(err)
	}
	return dial
}

func commandTo(t *testing.T, line string) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	dial, err := fleetssh.DialCommand(line)
	if err != nil {
		t.Fatal(err)
	}
	return dial
}

// expectNoSecret looks for a secret in an error and in every error that it wraps.
func expectNoSecret(t *testing.T, secret string, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	text := printed(t, err)
	for _, spelling := range spelled(secret) {
		if strings.Contains(text, spelling) {
			t.Errorf("%q is in %s", spelling, text)
			return
		}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			expectNoSecret(t, secret, inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			expectNoSecret(t, secret, inner)
		}
	}
}
