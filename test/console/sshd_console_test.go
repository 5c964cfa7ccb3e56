package console

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// openConsole opens a console, and expects to close it at the end of the test.
func openConsole(t testing.TB, c *fleetssh.Client) *fleetssh.Console {
	t.Helper()
	s, err := c.OpenConsole(fleettest.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fleettest.Equal(t, "close", s.Close(fleettest.Soon(t)), nil) })
	return s
}

// startLine starts a line.
func startLine(t testing.TB, s *fleetssh.Console, text string) *fleetssh.HostOutput {
	t.Helper()
	out, err := s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: text})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

// lineResult is the output and the exit code of a line.
type lineResult struct {
	stdout, stderr string
	code           int
}

// resultOf waits for a line to exit, and returns its result.
func resultOf(t testing.TB, out *fleetssh.HostOutput) lineResult {
	t.Helper()
	out.WaitFinished(fleettest.Soon(t))
	if o := out.Outcome(); o.Kind != fleetssh.Exited {
		t.Fatalf("%s: outcome %+v", out.CommandLine, o)
	}
	return lineResult{fleettest.Text(t, out.Stdout), fleettest.Text(t, out.Stderr), out.Outcome().ExitCode}
}

// runText runs a line to its end.
func runText(t testing.TB, s *fleetssh.Console, line string) lineResult {
	t.Helper()
	return resultOf(t, startLine(t, s, line))
}

// The next line sees changes that a line makes to the shell, and runs whatever the previous line
// did. All supported login shells behave so.
func TestSSHDConsole(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range append(sshdtest.ShellAccounts(t), "root") {
		_, host, _ := fleettest.AccountSSHD(t, account, sshdtest.Options{})
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			s := openConsole(t, fleettest.Dial(t, host))
			for _, test := range []struct {
				line string
				want lineResult
			}{
				{"cd /usr && X='a b' && Y=`printf 1`", lineResult{}},
				{`pwd; echo "$X$Y"`, lineResult{stdout: "/usr\na b1\n"}},
				{"printf 'no end'; printf 'none' >&2", lineResult{stdout: "no end", stderr: "none"}},
				{"", lineResult{}},
				{"false", lineResult{code: 1}},
				{"echo $?", lineResult{stdout: "1\n"}},
				{"(exit 255)", lineResult{code: 255}},
				{"echo $?; echo a\necho b # c", lineResult{stdout: "255\na\nb\n"}},
				{"cat; read x; echo end", lineResult{stdout: "end\n"}},
				{"sh -c 'cat; head -c 5'", lineResult{}},
				{"f() { echo \"f $1\"; }", lineResult{}},
				{"f 1", lineResult{stdout: "f 1\n"}},
				{"-x 2>/dev/null", lineResult{code: 127}},
				{"exec >/dev/null", lineResult{}},
				{"echo shown", lineResult{stdout: "shown\n"}},
				{"exec 2>/dev/null; nosuchcommand", lineResult{code: 127}},
				{"echo hist !x !!", lineResult{stdout: "hist !x !!\n"}},
				{"echo é 日本", lineResult{stdout: "é 日本\n"}},
				{"printf 'a\\0b\\377\\n\\033[31m'", lineResult{stdout: "a\x00b\xff\n\x1b[31m"}},
				{"for i in 1 2 3; do echo $i; done", lineResult{stdout: "1\n2\n3\n"}},
				{"cat <<'END'\n$X 'y'\nEND", lineResult{stdout: "$X 'y'\n"}},
				{"(sleep 60 >/dev/null 2>&1 &)", lineResult{}},
				{"echo still here", lineResult{stdout: "still here\n"}},
			} {
				if got := runText(t, s, test.line); got != test.want {
					t.Errorf("%q:\n got %+v\nwant %+v", test.line, got, test.want)
				}
			}
			// Errors are reported and do not break the console.
			for _, line := range []string{"echo 'a", `echo "a`, "if", ")", "{ echo a", "${nothing?missing}", "set -u; echo $nothing", "set +u; . /nonexistent", "PS1=x", "$((", "case x in", "a() {", "break; nosuchcommand"} {
				if got := runText(t, s, line); got.stderr == "" || got.stdout != "" {
					t.Errorf("%q: %+v", line, got)
				}
				if got := runText(t, s, "echo ok"); got != (lineResult{stdout: "ok\n"}) {
					t.Fatalf("after %q: %+v", line, got)
				}
			}
			// The sentinel appears in no listing or trace of the shell's state.
			if got := runText(t, s, "set; set -x; true; set +x"); strings.Contains(got.stdout, ">\n") && strings.Contains(got.stdout, "<0:0:") {
				t.Errorf("%+v", got)
			}
			if got := runText(t, s, "head -c 3000000 /dev/zero | tee /dev/stderr"); len(got.stdout) != 3000000 || len(got.stderr) != 3000000 {
				t.Errorf("%d and %d bytes, %q", len(got.stdout), len(got.stderr), strings.Trim(got.stderr, "\x00"))
			}
		})
	}
}

// noTerminal matches a message that bash sometimes prints, after an empty line or not, when a
// signal ends a program before bash waits for it. bash then tries to use a terminal that it does
// not have.
var noTerminal = regexp.MustCompile(`(?m)^\n?.*bash: .*tcsetattr: Inappropriate ioctl for device\n`)

// SIGINT stops a line, also within a loop or a list, and the shell runs the next line. sshd
// delivers signals for the other accounts, but not for root.
func TestSSHDConsoleInterrupt(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range append(sshdtest.ShellAccounts(t), "root") {
		_, host, _ := fleettest.AccountSSHD(t, account, sshdtest.Options{})
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			s := openConsole(t, fleettest.Dial(t, host))
			runText(t, s, "cd /usr; X=kept")
			for _, format := range []string{"echo begun; sleep %s; echo after", "echo begun; while :; do sleep %s; done", "echo begun; while :; do :; done; : %s", "echo begun; sh -c 'sleep %s; echo after' | cat"} {
				marker := sshdtest.Marker()
				out := startLine(t, s, fmt.Sprintf(format, marker))
				readLine(t, out, "begun")
				if strings.Contains(format, "sleep") {
					fleettest.Running(t, marker, true)
				}
				fleettest.Equal(t, "signal", out.Signal(fleettest.Soon(t), ssh.SIGINT), nil)
				if got := resultOf(t, out); got.stdout != "" || noTerminal.ReplaceAllString(got.stderr, "") != "" || got.code == 0 {
					t.Errorf("%s: %+v", format, got)
				}
				fleettest.Running(t, marker, false)
				if got := runText(t, s, "pwd; echo $X"); got != (lineResult{stdout: "/usr\nkept\n"}) {
					t.Errorf("after %s: %+v", format, got)
				}
			}
			// A signal for a line that has ended does not interrupt the next line.
			for range 20 {
				out := startLine(t, s, "echo a")
				fleettest.Equal(t, "signal", out.Signal(fleettest.Soon(t), ssh.SIGINT), nil)
				out.WaitFinished(fleettest.Soon(t))
				if got := runText(t, s, "echo b"); got != (lineResult{stdout: "b\n"}) {
					t.Fatalf("%+v", got)
				}
			}
			// If a line does not react, Stop ends it together with its shell.
			marker := sshdtest.Marker()
			out := startLine(t, s, "echo begun; sh -c \"trap '' INT TERM; echo begun; sleep "+marker+"; sleep 100\"")
			readLine(t, out, "begun")
			readLine(t, out, "begun")
			fleettest.Equal(t, "stop", out.Stop(fleettest.Soon(t)), nil)
			fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
			fleettest.Running(t, marker, false)
			fleettest.Equal(t, "finished", s.Finished(), true)
		})
	}
}

// readLine waits for a line of standard output.
func readLine(t testing.TB, out *fleetssh.HostOutput, want string) {
	t.Helper()
	for line, err := range out.Stdout.Lines(fleettest.Soon(t)) {
		if line != want || err != nil {
			t.Fatalf("%q, %v, want %q", line, err, want)
		}
		return
	}
	t.Fatalf("no line %q", want)
}

// Only its own line reads the input, unchanged, and the file with the input is removed.
func TestSSHDConsoleStdin(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range append(sshdtest.ShellAccounts(t), "root") {
		_, host, _ := fleettest.AccountSSHD(t, account, sshdtest.Options{})
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			s := openConsole(t, fleettest.Dial(t, host))
			send := func(line, input string) lineResult {
				t.Helper()
				from := strings.NewReader(input)
				out, err := s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: line, Stdin: io.NewSectionReader(from, 0, from.Size())})
				if err != nil {
					t.Fatal(err)
				}
				return resultOf(t, out)
			}
			binary := strings.Repeat("a\x00\xff\nexit 3\n", 50000)
			if got := send("cat; V=set", binary); got != (lineResult{stdout: binary}) {
				t.Errorf("%d bytes, %q, %d", len(got.stdout), got.stderr, got.code)
			}
			fleettest.Equal(t, "variable", runText(t, s, "echo $V").stdout, "set\n")
			fleettest.Equal(t, "empty", send("cat; echo end", ""), lineResult{stdout: "end\n"})
			fleettest.Equal(t, "not read", send("true", binary), lineResult{})
			fleettest.Equal(t, "read in part", send("read x; echo $x", "one\nexit 9\n"), lineResult{stdout: "one\n"})
			fleettest.Equal(t, "after", runText(t, s, "echo ok; cat"), lineResult{stdout: "ok\n"})
			path := strings.TrimSpace(send("readlink /proc/self/fd/0; :", "x").stdout)
			fleettest.Eventually(t, "the file to be removed", func() bool {
				return runText(t, s, "test -e '"+path+"'").code == 1
			})
		})
	}
}

// If a line ends the shell, the line ends with the outcome of the shell.
func TestSSHDConsoleEnds(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	for _, test := range []struct {
		line string
		want fleetssh.Outcome
	}{
		{"exit 3", fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3}},
		{"exec true", fleetssh.Outcome{Kind: fleetssh.Exited}},
		{"exec bash", fleetssh.Outcome{Kind: fleetssh.Exited}},
		{"kill -9 $$", fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: "KILL"}},
		{"set -e; false", fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1}},
	} {
		s := openConsole(t, fleettest.Dial(t, host))
		out := startLine(t, s, test.line)
		out.WaitFinished(fleettest.Soon(t))
		fleettest.Equal(t, test.line, out.Outcome(), test.want)
		if _, err := s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "true"}); err == nil {
			t.Errorf("after %s, another line runs", test.line)
		}
		fleettest.Equal(t, "finished", s.Finished(), true)
	}
}
