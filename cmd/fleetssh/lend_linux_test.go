package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/simulate"
)

// askingProxy is a proxy command that asks for an answer on the terminal, appends the answer to a
// file, and connects to the host if the answer is "right".
func askingProxy(file string) string {
	return `bash -c 'printf "code? " >/dev/tty; read -rs answer </dev/tty; ` +
		`echo "$answer" >>` + file + `; [ "$answer" = right ] || exit 9; exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'`
}

// A proxy command may ask on the terminal, for one host at a time. One that fails is not retried.
func TestCommandAsksOnTerminal(t *testing.T) {
	t.Parallel()
	answers := filepath.Join(t.TempDir(), "answers")
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 3}, "run", "%", "--retry-delay", "0", "--proxy-command", askingProxy(answers), "echo it works")
	for i, answer := range []string{"right", "wrong", "right"} {
		r.awaitTimes("its proxy command asks:", i+1)
		r.typed(answer + "\n")
	}
	code, shown := r.wait()
	if code != exit.Unreachable || strings.Count(shown, ": it works") != 2 || !strings.Contains(shown, "exited with status 9") {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	if got, err := os.ReadFile(answers); err != nil || string(got) != "right\nwrong\nright\n" {
		t.Errorf("answers %q, %v", got, err)
	}
}

// Ctrl-C while a proxy command asks interrupts the whole run.
func TestCommandAsksInterrupted(t *testing.T) {
	t.Parallel()
	for _, hosts := range []int{1, 3} { // with one, no other host is left to be stopped
		r, _ := startOnTerminal(t, simulate.Plan{Hosts: hosts}, "run", "%", "--proxy-command", askingProxy(filepath.Join(t.TempDir(), "answers")), "echo it works")
		r.awaitTimes("its proxy command asks:", 1)
		r.typed("\x03")
		code, shown := r.wait()
		if code != exit.Interrupted || strings.Contains(shown, ": it works") {
			t.Errorf("%d hosts: exit code %d\n%s", hosts, code, shown)
		}
	}
}
