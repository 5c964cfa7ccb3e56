package session

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// fakeSudo prompts as sudo does, with one percent sign for two, and runs the command.
const fakeSudo = `#!/bin/sh
while [ "$1" != -- ]; do [ "$1" = -p ] && p=$2; shift; done
shift
printf '[sudo: %s] Password: ' "$(printf %s "$p" | sed 's/%%/%/g')" >&2
IFS= read -r answer
[ "$answer" = secret ] || exit 1
exec "$@"
`

// loginShells are login shells of accounts, as sshd starts them.
var loginShells = [][]string{{"sh"}, {"bash"}, {"rbash"}, {"dash"}, {"zsh"}, {"fish"}, {"tcsh"}, {"busybox", "sh"}}

// Every login shell interprets the wrapper of a line in the same way: sudo, the start sentinel,
// the environment, the requested shell, and the reader of a script on standard input.
func TestWrappedLineReachesEveryShell(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	sshdtest.WriteProgram(t, filepath.Join(bin, "sudo"), fakeSudo)
	answer := func(context.Context, fleetssh.HostConfig) (string, error) { return "secret", nil }
	const nasty = `it's "$HOME" !1 %s %% \n * ~ ` + "`id`"
	script := &fleetssh.Script{Text: []byte("cat; printf '<%s>' \"$@\"\n"), Args: []string{nasty, ""}}
	for _, test := range []struct {
		name, input, want string
		cmd               fleetssh.Command
	}{
		{"shell", "in", "in", fleetssh.Command{Line: "cat", Shell: "sh -c"}},
		{"environment", "", nasty, fleetssh.Command{Line: `printf %s "$V"`, Env: map[string]string{"V": nasty}, Shell: "sh -c"}},
		{"sudo", "secret\nin", "in" + nasty, fleetssh.Command{Line: `cat; printf %s "$V"`, Env: map[string]string{"V": nasty}, Shell: "sh -c", Sudo: true}},
		{"sudo, answered", "secret\nin", "in" + nasty, fleetssh.Command{Line: `cat; printf %s "$V"`, Env: map[string]string{"V": nasty}, Shell: "sh -c", Sudo: true, SudoPassword: answer}},
		{"login shell", "secret\nin", "in", fleetssh.Command{Line: "cat", User: "bob smith", SudoPassword: answer}},
		{"script", string(script.Text) + "in", "in<" + nasty + "><>", fleetssh.Command{Script: script}},
		{"script, sudo", "secret\n" + string(script.Text) + "in", "in<" + nasty + "><>", fleetssh.Command{Script: script, Sudo: true, SudoPassword: answer}},
	} {
		line, err := test.cmd.CommandLine(0)
		if err != nil {
			t.Fatal(err)
		}
		for _, shell := range loginShells {
			program, err := exec.LookPath(shell[0])
			if err != nil {
				t.Errorf("%s: %v", shell[0], err)
				continue
			}
			cmd := exec.Command(program, append(shell[1:], "-c", line)...)
			cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "SHELL=" + program, "HOME=" + bin}
			if shell[0] == "busybox" {
				cmd.Env[1] = "SHELL=/bin/sh"
			}
			cmd.Stdin = strings.NewReader(test.input)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || string(out) != test.want {
				t.Errorf("%s: %s writes %q (%v, %s), want %q", test.name, shell[0], out, err, stderr.String(), test.want)
			}
			for _, sentinel := range sentinelsOf(line) {
				if n := strings.Count(stderr.String(), sentinel); test.cmd.Sudo && n != 1 {
					t.Errorf("%s: %s writes %s %d times: %q", test.name, shell[0], sentinel, n, stderr.String())
				}
			}
			if strings.Contains(stderr.String(), "%%") {
				t.Errorf("%s: %s: %q", test.name, shell[0], stderr.String())
			}
		}
	}
}
