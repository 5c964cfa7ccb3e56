package console

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// After a line has turned on tracing, the trace shows the following lines, but no command of the
// console. $? and exit codes are the same as without tracing.
func TestSSHDConsoleTraced(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	ours := regexp.MustCompile(`fleetssh|[A-Z2-7]{20}|printf|eval '|/dev/null`)
	for _, account := range append(sshdtest.ShellAccounts(t), "root") {
		_, host, _ := fleettest.AccountSSHD(t, account, sshdtest.Options{})
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			s := openConsole(t, fleettest.Dial(t, host))
			traced := func(line string, want lineResult, trace string) {
				t.Helper()
				got := runText(t, s, line)
				if !regexp.MustCompile(trace).MatchString(got.stderr) || ours.MatchString(got.stderr) {
					t.Errorf("%q: stderr %q, want %s", line, got.stderr, trace)
				}
				if got.stderr = ""; got != want {
					t.Errorf("%q: %+v, want %+v", line, got, want)
				}
			}
			syntax := runText(t, s, "if").code
			traced("set -x", lineResult{}, `^$`)
			traced("echo a; (exit 3)", lineResult{stdout: "a\n", code: 3}, `echo a\n[^\n]*exit 3\n$`)
			traced("echo $?", lineResult{stdout: "3\n"}, `^\S* ?echo 3\n$`)
			traced("if", lineResult{code: syntax}, `(?i)syntax|parse`) // tracing stays on
			traced("echo b\necho c # d", lineResult{stdout: "b\nc\n"}, `echo b\n.*echo c\n$`)
			traced("cat <<'END'\nx\nEND", lineResult{stdout: "x\n"}, `cat`)

			marker := sshdtest.Marker()
			out := startLine(t, s, "sleep "+marker+"; echo after")
			fleettest.Running(t, marker, true)
			fleettest.Equal(t, "signal", out.Signal(fleettest.Soon(t), ssh.SIGINT), nil)
			if got := resultOf(t, out); got.stdout != "" || ours.MatchString(got.stderr) || got.code == 0 {
				t.Errorf("interrupted: %+v", got)
			}
			traced("echo d", lineResult{stdout: "d\n"}, `echo d\n$`)
			traced("set +x", lineResult{}, `set \+x\n$`)
			traced("echo e", lineResult{stdout: "e\n"}, `^$`)

			traced("set -v", lineResult{}, `^$`)
			traced("echo f; (exit 4)", lineResult{stdout: "f\n", code: 4}, `^( echo f; \(exit 4\)\n)?$`)
			traced("echo $?; cat; (exit 5)", lineResult{stdout: "4\n", code: 5}, ``)
			traced("set -xv; cd /", lineResult{}, `cd /\n$`)
			traced("case $- in *v*) echo v;; esac; case $- in *x*) echo x;; esac; pwd", lineResult{stdout: "v\nx\n/\n"}, `pwd\n$`)
			runText(t, s, "set +xv")
			fleettest.Equal(t, "options", runText(t, s, "echo g"), lineResult{stdout: "g\n"})
		})
	}
}

// Output of the login shell's start file is taken neither for output of a line nor for the name
// of the file with the input.
func TestSSHDConsoleAfterGreeting(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	home := sshdtest.SharedDir(t)
	greeting := "set -x\necho /etc/motd says\nprintf 'welcome '\n"
	if err := os.WriteFile(filepath.Join(home, ".bashrc"), []byte(greeting), 0o644); err != nil {
		t.Fatal(err)
	}
	_, host, _ := fleettest.AccountSSHD(t, sshdtest.Bob, sshdtest.Options{Config: []string{"SetEnv HOME=" + home}})
	s := openConsole(t, fleettest.Dial(t, host))
	from := strings.NewReader("the input\n")
	out, err := s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "cat; echo $?", Stdin: io.NewSectionReader(from, 0, from.Size())})
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "result", resultOf(t, out), lineResult{stdout: "the input\n0\n"})
}
