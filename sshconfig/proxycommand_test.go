package sshconfig

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestParseSSHCommand checks which ProxyCommands mean a hop.
func TestParseSSHCommand(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	to := &tokens{alias: "web", host: "web.example.org", user: "u", port: 2222}
	for line, want := range map[string]string{ // options, host; empty: not a hop
		"ssh -W %h:%p gate":                                                "gate",
		"  ssh   gate -W %h:%p ":                                           "gate",
		"exec ssh -qTW %h:%p gate":                                         "gate",
		"/usr/bin/ssh -W [%h]:%p gate 2>/dev/null":                         "gate",
		"ssh -W%h:%p alice@gate":                                           "User alice|gate",
		"ssh -l bob -p 2022 -i ~/.ssh/k -W %h:%p alice@gate":               `User "bob"|Port "2022"|IdentityFile "/home/me/.ssh/k"|User alice|gate`,
		"ssh -4 -J first -W %h:%p %r@gate":                                 `AddressFamily inet|ProxyJump "first"|User u|gate`,
		"ssh -oBatchMode=yes -o 'ConnectTimeout 5' -W %h:%p ssh://gate:23": "BatchMode=yes|ConnectTimeout 5|Port 23|gate",
		"ssh -k -F none -W %h:%p gate":                                     "GSSAPIDelegateCredentials no|gate",
		"ssh gate nc %h %p":                                                "",
		"ssh -W %h:%p gate true":                                           "",
		"ssh -W %h:22 gate":                                                "",
		"ssh -W other:%p gate":                                             "",
		"ssh -W %h:%p":                                                     "",
		"ssh gate":                                                         "",
		"ssh -W %h:%p gate; reboot":                                        "",
		"ssh -W %h:%p $GATE":                                               "",
		"ssh -W %h:%p $(gate)":                                             "",
		`ssh -W %h:%p "ga$te"`:                                             "",
		"ssh -W %h:%p 'gate":                                               "",
		"ssh -n -W %h:%p gate":                                             "",
		"ssh -v -W %h:%p gate":                                             "",
		"ssh -D 1080 -W %h:%p gate":                                        "",
		"ssh -o ControlMaster=auto -W %h:%p gate":                          "",
		"ssh -o Compression=yes -W %h:%p gate":                             "",
		"ssh -o Nonsense=1 -W %h:%p gate":                                  "",
		"ssh -p":                                                           "",
		"./ssh -W %h:%p gate":                                              "",
		"sshpass -f x ssh -W %h:%p gate":                                   "",
		"ssh -W %h:%p -x:y":                                                "",
		"ssh -W %h:%p gate:22":                                             "",
		"nc %h %p":                                                         "",
		"":                                                                 "",
	} {
		g, ok := parseSSHCommand(line, to)
		got := strings.Join(append(g.options, g.host), "|")
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v; want %q", line, got, ok, want)
		}
	}
}

// FuzzParseSSHCommand checks that a command with shell syntax is never taken for a hop.
func FuzzParseSSHCommand(f *testing.F) {
	for _, seed := range []string{"ssh -W %h:%p gate", `ssh -o "A b" -qW[%h]:%p ~/x@y 2>/dev/null`, "exec ssh a'b'\"c\" -F x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		g, ok := parseSSHCommand(line, &tokens{alias: "a", host: "h", user: "u", port: 22})
		if !ok {
			return
		}
		if strings.ContainsAny(strings.TrimSuffix(strings.TrimSpace(line), "2>/dev/null"), "|&;<>()$`\\*?{}\n") && !strings.ContainsAny(line, `'"`) {
			t.Errorf("%q", line)
		}
		if g.host == "" || strings.HasPrefix(g.host, "-") {
			t.Errorf("%q: %q", line, g.host)
		}
	})
}

// TestPlainWords compares with a shell.
func TestPlainWords(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	for line, want := range map[string][]string{
		`a 'b c'"d e"f ''`: {"a", "b cd ef", ""}, "~/x ~y": nil, "x~/y": nil, "~/x": {os.Getenv("HOME") + "/x"}, "": nil,
	} {
		got, ok := plainWords(line)
		if !slices.Equal(got, want) && ok {
			t.Errorf("%q: %q", line, got)
		}
	}
}
