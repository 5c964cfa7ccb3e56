package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// nasty are words that a shell may misinterpret.
var nasty = []string{
	"", " ", "plain", "two words", "'", "''", `"`, "`id`", "$(id)", "$HOME", "${HOME}", `\`, `\\`, `a\`, `\n`, `\'`, `'\''`,
	"!", "!!", "!ls", "a!b'c", "\t", "*", "?", "[a-z]", "{a,b}", "~", "~root", "#", "a#b", ";", "&&", "|", ">/tmp/x", "<", "(", ")", "-n", "--", "=", "a=b", "%", "%s", "%q", "%%",
	"é ü €", "日本", "🙂", "\x7f", "\x1b[31m", "new\nline", "\n", "\n\n", "cr\rlf\r\n", "trailing\n", "-e \\041",
}

// A word reaches the command unchanged, whatever shell the user has.
func TestSSHDShellQuoting(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range sshdtest.ShellAccounts(t) {
		_, host, _ := fleettest.AccountSSHD(t, account, sshdtest.Options{})
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			c := fleettest.Dial(t, host)
			words := nasty
			if strings.HasSuffix(account, "csh") {
				// csh cannot quote a newline
				words = slices.DeleteFunc(slices.Clone(nasty), func(w string) bool { return strings.Contains(w, "\n") })
			}
			want := strings.Join(words, "\x01") + "\x01"
			named := make(map[string]string)
			var verbs, namedVerbs, variables []string
			for i, word := range words {
				name := fmt.Sprintf("W%d", i)
				named[name] = word
				verbs = append(verbs, "%q")
				namedVerbs = append(namedVerbs, "%("+name+")q")
				variables = append(variables, `"$`+name+`"`)
			}
			const print = `printf '%%s\001' `
			for _, cmd := range []fleetssh.Command{
				{Line: print + strings.Join(verbs, " "), HostArgs: []fleetssh.Args{{List: words}}},
				{Line: print + strings.Join(namedVerbs, " "), HostArgs: []fleetssh.Args{{Map: named}}, Shell: "bash -c"},
				{Line: `printf '%s\001' ` + strings.Join(variables, " "), Env: named, Shell: "sh -c"},
			} {
				out, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
				if err != nil || stderr != "" {
					t.Errorf("%v: %q", err, stderr)
				}
				if stdout != want {
					t.Errorf("%s\ngot  %q\nwant %q", out.CommandLine, strings.Split(stdout, "\x01"), words)
				}
			}
		})
	}
}

func TestSSHDShellLines(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	for _, test := range []struct{ name, line, want string }{
		{"single quotes", `echo 'a b'  "c  d"`, "a b c  d\n"},
		{"nested quotes", `echo "it's" '"quoted"'`, "it's \"quoted\"\n"},
		{"several lines", "echo one\necho two", "one\ntwo\n"},
		{"here document", "cat <<'END'\n$HOME 'x' \"y\"\nEND", "$HOME 'x' \"y\"\n"},
		{"substitution", "x=$(printf 'a\\nb'); echo \"$x\" | wc -l", "2\n"},
		{"pipe and list", "echo a | tr a b; false || echo c && echo d", "b\nc\nd\n"},
		{"backslashes", `echo a\ b \\ \"`, "a b \\ \"\n"},
		{"percent", "printf '%s %% %d\\n' x 5", "x % 5\n"},
		{"exclamation", "echo hello! '!' \"!\"", "hello! ! !\n"},
		{"comment", "echo a # not b", "a\n"},
		{"unicode", "echo 日本 é", "日本 é\n"},
		{"glob", "echo /et[c]", "/etc\n"},
		{"long", "echo " + strings.Repeat("x", 100000), strings.Repeat("x", 100000) + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, cmd := range []fleetssh.Command{
				{Line: test.line},
				{Line: test.line, Shell: "bash -c"},
				{Line: test.line, Shell: "sh -c"},
				{Line: test.line, Env: map[string]string{"A": "b"}},
			} {
				out, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
				if err != nil || stdout != test.want || stderr != "" {
					t.Errorf("%.200s\ngot %.200q, want %.200q; %q; %v", out.CommandLine, stdout, test.want, stderr, err)
				}
			}
		})
	}
	t.Run("broken", func(t *testing.T) {
		_, _, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "echo 'a", Shell: "bash -c"})
		fleettest.AsError[*fleetssh.ExitError](t, err)
		fleettest.Contains(t, stderr, "unexpected EOF")
	})
}

func TestSSHDEnv(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	env := map[string]string{"PATH": "/usr/bin:/bin", "_x1": "$PATH"}
	for i, word := range nasty {
		env[fmt.Sprintf("WORD_%d", i)] = word
	}
	_, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "env -0", Env: env})
	fleettest.Equal(t, "error", err, nil)
	got := make(map[string]string)
	for entry := range strings.SplitSeq(stdout, "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		got[name] = value
	}
	for name, want := range env {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}
