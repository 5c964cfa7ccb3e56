//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// The command logs in with tickets of a real KDC, and explains why it cannot.
func TestKerberos(t *testing.T) {
	sshdtest.CheckLeaks(t)
	const password = "a Kerberos password"
	k, user := kdctest.Start(t, kdctest.Options{}), sshdtest.CurrentUser(t)
	k.AddPrincipal(t, user, password)
	s := sshdtest.Start(t, sshdtest.Options{
		Config: []string{"GSSAPIAuthentication yes", "GSSAPIStrictAcceptorCheck no"},
		Env:    append(k.Env(), "KRB5_KTNAME=FILE:"+k.AddService(t, "host/localhost")),
	})
	known := filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{fmt.Sprintf("[localhost]:%d", s.Port)}, s.HostKey(sshdtest.KindED25519))
	if err := os.WriteFile(known, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	t.Setenv("KRB5_CONFIG", k.Config)
	t.Setenv("KRB5CCNAME", cache)
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", t.TempDir())
	login := []string{"-w", "localhost", "-p", fmt.Sprint(s.Port), "--known-hosts", known, "-F", "none"}
	args := func(verb string, more ...string) []string { return append(append([]string{verb}, login...), more...) }
	for _, test := range []struct {
		name        string
		before      func()
		args        []string
		code        int
		out, errOut []string
	}{
		{"no ticket", nil, args("run", "--gssapi", "true"), exit.Unreachable, nil, []string{"there is no ticket in " + cache, "run kinit"}},
		{"explained", nil, []string{"explain", "-F", "none", "--gssapi", "localhost"}, exit.OK, []string{"- gssapi-with-mic  (", "run kinit"}, nil},
		{"keytab", func() { k.Keytab(t, strings.TrimPrefix(cache, "FILE:")+".keytab", user) },
			args("run", "--keytab", strings.TrimPrefix(cache, "FILE:")+".keytab", "id", "-un"), exit.OK, []string{"localhost: " + user}, nil},
		{"ticket", func() { k.Kinit(t, cache, user, password, "-F") },
			args("check", "--gssapi"), exit.OK, []string{"login    gssapi-with-mic\n", "host key ssh-ed25519 "}, nil},
		{"not forwardable", nil, args("run", "-K", "echo in"), exit.OK, []string{"localhost: in"}, []string{"fleetssh: warning: localhost: ", "kinit -f"}},
		{"explained, not forwardable", nil, []string{"explain", "-F", "none", "-K", "localhost"}, exit.OK, []string{"cannot be delegated"}, nil},
		{"delegated", func() { k.Kinit(t, cache, user, password) },
			args("run", "-K", "klist", "-f"), exit.OK, []string{"Default principal: " + user + "@" + k.Realm, "Flags: Ff"}, nil},
		{"explained, delegated", nil, []string{"explain", "-F", "none", "-K", "localhost"}, exit.OK,
			[]string{"gssapi-with-mic: " + user + "@" + k.Realm + " asks for host/localhost@" + k.Realm, "cache " + cache + ", valid until ", ", delegated)"}, nil},
		{"other service", nil, args("run", "--service-host", "nosuch", "true"), exit.Unreachable, nil, []string{"host/nosuch@" + k.Realm}},
		{"other principal", nil, args("run", "--principal", "nobody", "true"), exit.Unreachable, nil, []string{"nobody@" + k.Realm}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.before != nil {
				test.before()
			}
			code, out, errOut := runProgram(t, test.args...)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.out {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in %s", want, out)
				}
			}
			for _, want := range test.errOut {
				if !strings.Contains(errOut, want) {
					t.Errorf("%q is not in %s", want, errOut)
				}
			}
			if test.errOut == nil && errOut != "" {
				t.Errorf("unexpected standard error: %s", errOut)
			}
		})
	}
	t.Run("kinit", func(t *testing.T) {
		var out, errOut bytes.Buffer
		screen := termline.New(&out, &errOut)
		var asked []string
		c := &app{in: strings.NewReader(""), screen: screen, warnings: new(display.Warnings), ask: func(_ context.Context, prompt string, echo bool) (string, error) {
			asked = append(asked, prompt)
			return password, nil
		}}
		root := newRoot(c, verbs...)
		root.SetArgs(args("run", "--kinit", "--principal", user, "klist; echo in"))
		code := exit.Report(screen, root.ExecuteContext(t.Context()))
		screen.Close()
		if code != exit.OK || !strings.Contains(out.String(), "localhost: in") || len(asked) != 1 || !strings.Contains(asked[0], "Kerberos password of "+user) {
			t.Errorf("exit code %d, asked %q:\n%s%s", code, asked, &out, &errOut)
		}
	})
}
