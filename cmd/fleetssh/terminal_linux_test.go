package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// terminalRun is the program, running on a terminal of its own.
type terminalRun struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{} // closed when the output has been read to its end
	at   int           // offset in text where next begins to search

	mu   sync.Mutex // protects text
	text strings.Builder
}

// startOnTerminal starts a fleet, and the program on a terminal. "%" among the arguments stands for
// the hosts of the fleet.
func startOnTerminal(t *testing.T, plan simulate.Plan, args ...string) (*terminalRun, *simulate.Fleet) {
	t.Helper()
	fleet, err := simulate.Start(plan, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fleet.Close() })
	r := &terminalRun{t: t, cmd: exec.Command("fleetssh", args...), done: make(chan struct{})}
	r.cmd.Env = append(terminalEnv(t), fleetEnv(fleet)...)
	if r.tty, err = pty.StartWithSize(r.cmd, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	r.watch()
	return r, fleet
}

// terminalEnv returns the environment of a program on a terminal.
func terminalEnv(t *testing.T) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "TERM=xterm", "NO_COLOR=1", "GORACE=" + noRaceDelay, "HOME=" + t.TempDir()}
}

// fleetEnv returns the variables that "%" stands for.
func fleetEnv(fleet *simulate.Fleet) []string {
	return []string{"HOSTS=" + fleet.Expression(), "PORT=" + strconv.Itoa(fleet.SSH.Port()), "KEY=" + fleet.KeyFile(), "KNOWN=" + fleet.KnownHosts()}
}

// watch reads what the terminal shows, until the end of the test.
func (r *terminalRun) watch() {
	r.t.Cleanup(func() {
		r.cmd.Process.Kill()
		r.tty.Close()
		r.drained()
	})
	go func() {
		defer close(r.done)
		for b := make([]byte, 4096); ; {
			n, err := r.tty.Read(b)
			r.mu.Lock()
			r.text.Write(b[:n])
			r.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
}

// drained waits until everything that the terminal shows has been read. Closing the terminal does not
// end a read that blocks, so the wait has a limit.
func (r *terminalRun) drained() {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(sshdtest.Patience):
		state, _ := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/status")
		r.t.Fatalf("something has the terminal open after the end of %v, which is\n%s", r.cmd.Args, state)
	}
}

func (r *terminalRun) shown() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// until waits until what the terminal shows meets a condition. If it does not, the program shows what
// its goroutines do, and the test fails.
func (r *terminalRun) until(what string, holds func(shown string) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(sshdtest.Patience); !holds(r.shown()); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			r.cmd.Process.Signal(syscall.SIGABRT)
			for range 1000 {
				if strings.Contains(r.shown(), "goroutine 1 ") {
					break
				}
				<-time.After(10 * time.Millisecond)
			}
			r.t.Fatalf("the terminal does not show %s, but\n%s", what, r.shown())
		}
	}
}

// await waits until the terminal shows a text.
func (r *terminalRun) await(want string) {
	r.t.Helper()
	r.awaitTimes(want, 1)
}

// awaitTimes waits until the terminal has shown a text n times.
func (r *terminalRun) awaitTimes(want string, n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("%q %d times", want, n), func(shown string) bool {
		return strings.Count(shown, want) >= n
	})
}

// next waits until the terminal has shown a text after the text that the previous call found.
func (r *terminalRun) next(want string) {
	r.t.Helper()
	r.until(fmt.Sprintf("%q after byte %d", want, r.at), func(shown string) bool {
		i := strings.Index(shown[r.at:], want)
		if i >= 0 {
			r.at += i + len(want)
		}
		return i >= 0
	})
}

// typed types a text on the terminal. A program that does not read it is killed.
func (r *terminalRun) typed(text string) {
	r.t.Helper()
	defer r.killLater()()
	if _, err := io.WriteString(r.tty, text); err != nil {
		r.t.Fatal(err)
	}
}

// killLater kills the program if stop is not called in time.
func (r *terminalRun) killLater() (stop func() bool) {
	return time.AfterFunc(sshdtest.Patience, func() { r.cmd.Process.Kill() }).Stop
}

// wait waits for the program to end, and returns its exit code and what the terminal has shown.
func (r *terminalRun) wait() (int, string) {
	r.t.Helper()
	stop := r.killLater()
	err := r.cmd.Wait()
	stop()
	r.drained()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), r.shown()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return 0, r.shown()
}

// The status line below the output shows the progress of the run. It is cleared before output is
// written and at the end.
func TestStatusLine(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 2}, "run", "%", "echo first; sleep 5; echo last")
	r.await("\r\x1b[K0 of 2 hosts done, 2 running, ")
	code, shown := r.wait()
	if code != exit.OK {
		t.Errorf("exit code %d", code)
	}
	// What is left on the terminal: "\x1b[K" clears the status line.
	var lines []string
	for line := range strings.SplitSeq(shown, "\n") {
		if i := strings.LastIndex(line, "\x1b[K"); i >= 0 {
			line = line[i+len("\x1b[K"):]
		}
		lines = append(lines, strings.Trim(line, "\r"))
	}
	slices.Sort(lines)
	want := []string{"", "127.1.0.1: first", "127.1.0.1: last", "127.1.0.2: first", "127.1.0.2: last"}
	if !slices.Equal(lines, want) {
		t.Errorf("left on the terminal: %q", lines)
	}
	// On a narrow terminal it is shortened, not wrapped.
	r, _ = startOnTerminal(t, simulate.Plan{Hosts: 2}, "run", "%", "sleep 5")
	if err := pty.Setsize(r.tty, &pty.Winsize{Rows: 30, Cols: 16}); err != nil {
		t.Fatal(err)
	}
	r.await("\x1b[K0/2, 2 running\r")
	if _, shown := r.wait(); strings.Contains(shown, "\n") {
		t.Errorf("left on the terminal: %q", shown)
	}
	// --progress never turns it off.
	r, _ = startOnTerminal(t, simulate.Plan{Hosts: 1}, "run", "%", "--progress", "never", "sleep 0.5")
	if _, shown := r.wait(); shown != "" {
		t.Errorf("shown: %q", shown)
	}
}

// Control characters in grouped output are made visible, and blocks have numbers.
func TestFoldOnTerminal(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 2, Change: hostile}, "run", "%", "--progress", "never", "-b", "true")
	_, shown := r.wait()
	for _, want := range []string{"--------------- block 1\r\n127.1.0.[1-2] (2): ended by signal TERM^[[2J\r\n", `out a^[[31mred^G\x9b2J`, "127.1.0.[1-2]: err a^[[31mred"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the terminal does not show %q, but\n%q", want, shown)
		}
	}
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]int{"y\n": exit.OK, "n\n": exit.Usage, "\n": exit.Usage} {
		r, fleet := startOnTerminal(t, simulate.Plan{Hosts: 3}, "run", "%", "--confirm-over", "2", "echo ran")
		r.await(`run "echo ran" on 3 hosts? [y/N] `)
		r.typed(answer)
		code, shown := r.wait()
		if code != want || strings.Contains(shown, ": ran") != (want == exit.OK) {
			t.Errorf("%q: exit code %d: %q", answer, code, shown)
		}
		if want != exit.OK && fleet.SSH.Servers[0].Stats().Connections != 0 {
			t.Error("a host was contacted")
		}
	}
}

func TestColors(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 1}, "run", "%", "--color", "always", "--progress", "never", "echo a; echo b >&2")
	_, shown := r.wait()
	for _, want := range []string{"\x1b[36m127.1.0.1\x1b[0m: a\r\n", "\x1b[31m127.1.0.1\x1b[0m: b\r\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in %q", want, shown)
		}
	}
}

// hostile makes a host write terminal control sequences on both streams and in the name of a
// signal.
func hostile(_ int, h *simfleet.Host) {
	h.Handler = func(s *simfleet.Session) simfleet.Status {
		text := "a\x1b[31mred\x07\x9b2J\u009b2J\rover\x7f\u202ecod\ttab é\n"
		io.WriteString(s.Stdout, "out "+text)
		io.WriteString(s.Stderr, "err "+text)
		return simfleet.Status{Signal: "TERM\x1b[2J"}
	}
}

func TestControlCharactersAreMadeVisible(t *testing.T) {
	t.Parallel()
	const visible = `a^[[31mred^G\x9b2J\x9b2J^Mover^?\u202ecod` + "\ttab é\r\n"
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 1, Change: hostile}, "run", "%", "--progress", "never", "true")
	code, shown := r.wait()
	if code != exit.Command {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"127.1.0.1: out " + visible, "127.1.0.1: err " + visible, "ended by signal TERM^[[2J"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the terminal does not show %q, but\n%q", want, shown)
		}
	}
	for _, bad := range []string{"\x1b", "\x07", "\x9b", "\u202e", "\x7f"} {
		if strings.Contains(shown, bad) {
			t.Errorf("the terminal receives %q", bad)
		}
	}
}

func TestJSONHasNoControlCharacters(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 1, Change: hostile}, "run", "%", "--progress", "never", "--format", "json", "true")
	_, shown := r.wait()
	for _, bad := range []string{"\x1b", "\x07", "\x9b", "\u202e", "\x7f"} {
		if strings.Contains(shown, bad) {
			t.Errorf("the terminal receives %q", bad)
		}
	}
}

func TestPasswordIsNotEchoed(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 2, SudoPassword: "sesame"}, "run", "%", "--progress", "never", "--sudo", "--ask-sudo-pass", "-f", "1", "whoami")
	r.await("sudo password: ")
	awaitNoEcho(t, r)
	r.typed("sesame\n")
	code, shown := r.wait()
	if code != exit.OK || strings.Contains(shown, "sesame") {
		t.Errorf("exit code %d, shown %q", code, shown)
	}
	if want := "sudo password: \r\n127.1.0.1: root\r\n127.1.0.2: root\r\n"; shown != want {
		t.Errorf("shown %q, want %q", shown, want)
	}
}

func TestInterruptAtPrompt(t *testing.T) {
	t.Parallel()
	r, fleet := startOnTerminal(t, simulate.Plan{Hosts: 1}, "run", "%", "--progress", "never", "--ask-pass", "whoami")
	r.await("password: ")
	awaitNoEcho(t, r)
	r.typed("\x03")
	code, shown := r.wait()
	if code != exit.Interrupted || strings.Contains(shown, "error") {
		t.Errorf("exit code %d, shown %q", code, shown)
	}
	if fleet.SSH.Servers[0].Stats().Connections != 0 {
		t.Error("a host was contacted")
	}
}

func TestSecondInterruptLeavesAtOnce(t *testing.T) {
	t.Parallel()
	stalled := simfleet.Fault{Kind: simfleet.StallAfterStart}
	r, fleet := startOnTerminal(t, simulate.Plan{Hosts: 1, Faulty: 1, Fault: stalled}, "run", "%", "sleep", "60")
	for fleet.SSH.Servers[0].Stats().Started == 0 {
		<-time.After(time.Millisecond)
	}
	r.typed("\x03")
	r.await("interrupted: ")
	for began := time.Now(); time.Since(began) < 2*interrupt.Doubled; <-time.After(interrupt.Doubled / 3) {
		io.WriteString(r.tty, "\x03") // the terminal may be gone already
	}
	if code, _ := r.wait(); code != exit.Interrupted {
		t.Errorf("exit code %d", code)
	}
}

func TestTerminalSize(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 2}, "run", "%", "-f", "1", "--progress", "never", "--tty", "stty size; echo $TERM")
	if _, shown := r.wait(); shown != "127.1.0.1: 30 100\r\n127.1.0.1: xterm\r\n127.1.0.2: 30 100\r\n127.1.0.2: xterm\r\n" {
		t.Errorf("shown %q", shown)
	}
}

// awaitNoEcho waits until the terminal no longer echoes what is typed.
func awaitNoEcho(t *testing.T, r *terminalRun) {
	t.Helper()
	conn, err := r.tty.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(sshdtest.Patience); ; <-time.After(time.Millisecond) {
		var state *unix.Termios
		conn.Control(func(fd uintptr) { state, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) })
		if err != nil {
			t.Fatal(err)
		}
		if state.Lflag&unix.ECHO == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the terminal still echoes")
		}
	}
}

func TestNoTerminalToAskOn(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--ask-pass"}, {"--sudo", "--ask-sudo-pass"}} {
		cmd := exec.Command("fleetssh", append(append([]string{"run", "-w", "127.0.0.1", "-p", "1"}, args...), "true")...)
		cmd.Env = []string{"HOME=" + t.TempDir(), "GORACE=" + noRaceDelay}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		output, err := cmd.CombinedOutput()
		ended, ok := errors.AsType[*exec.ExitError](err)
		if !ok || ended.ExitCode() != exit.Failed || !strings.Contains(string(output), "password: there is no terminal to ask on\nhint: without a terminal, use --") {
			t.Errorf("%v: %v, %q", args, err, output)
		}
	}
}

// The status line names the hosts that are not done. Enter, Ctrl-\ and an interrupt list them all.
func TestOutstandingHosts(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 3, Silent: 1}, "run", "%", "-t", "1000", "sleep 1000")
	r.await("0 of 3 hosts done, 2 running")
	r.await(" 127.1.0.1 ") // before or after the others: they begin at the same time
	r.await("127.1.0.[2-3] running ")
	r.typed("\n")
	r.await("fleetssh: 0 of 3 hosts done after ")
	r.await("  running for ")
	r.await(": 127.1.0.[2-3] (2)")
	r.typed("\x1c") // Ctrl-\
	r.awaitTimes("fleetssh: 0 of 3 hosts done after ", 2)
	r.typed("\x03")
	r.awaitTimes("fleetssh: 0 of 3 hosts done after ", 3)
	r.await("fleetssh: interrupted")
	if code, shown := r.wait(); code != exit.Interrupted {
		t.Errorf("exit code %d\n%s", code, shown)
	}
}

// On a terminal the user is asked once about all hosts whose keys are not known, while the others run.
// The keys are added to the file.
func TestNewHostKeys(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "known_hosts")
	r, fleet := startOnTerminal(t, simulate.Plan{Hosts: 3}, "run", "%", "--known-hosts", file, "-f", "1", "--progress", "never", "echo ran")
	r.await("The authenticity of 3 hosts can't be established: their keys are not known.\r\n  127.1.0.1: ssh-ed25519 SHA256:")
	r.await("Trust them, and add them to " + file + " (yes/no/[fingerprint])? ")
	r.typed("yes\n")
	code, shown := r.wait()
	if code != exit.OK || strings.Count(shown, ": ran") != 3 || strings.Count(shown, "authenticity") != 1 {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	for _, server := range fleet.SSH.Servers {
		if n := server.Stats().Connections; n != 2 {
			t.Errorf("%s: %d connections", server.Host(), n)
		}
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 3 {
		t.Errorf("%v\n%s", err, text)
	}
}
