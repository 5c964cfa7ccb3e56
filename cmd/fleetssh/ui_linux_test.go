package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// On the terminal, a view begins with the alternate screen and ends with the normal one (xterm's control
// sequences).
const (
	alternateScreen = "\x1b[?1049h"
	normalScreen    = "\x1b[?1049l"
)

// terminalMode returns the mode of a terminal.
func terminalMode(t *testing.T, terminal *os.File) unix.Termios {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *mode
}

// newTerminalMode returns the mode of a terminal that nobody has used.
func newTerminalMode(t *testing.T) unix.Termios {
	t.Helper()
	master, line, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer line.Close()
	return terminalMode(t, master)
}

// A view stays open after the run until q. Then the normal screen has the groups, for -b, and the
// failures, and the record has ended before.
func TestFullScreen(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 3}, "run", "%", "--ui", "-b", "echo hello; [ $HOSTNAME != sim00002 ]")
	r.next(alternateScreen)
	r.awaitScreen("3 of 3 hosts done, 1 failed")
	r.awaitScreen("ended after")
	r.typed("?")
	r.awaitScreen("suspend fleetssh")
	r.typed("q")
	r.awaitScreen("Tab groups")
	report := filepath.Join(t.TempDir(), "report.html")
	r.typed("w\x15" + report + "\r")
	r.awaitScreen("the report is in ")
	if page, err := os.ReadFile(report); err != nil || !strings.Contains(string(page), "hello") || strings.Contains(string(page), "still running") {
		t.Errorf("the report: %v\n%s", err, page)
	}
	r.typed("q")
	code, shown := r.wait()
	_, left, _ := strings.Cut(shown, normalScreen)
	if strings.Contains(left, "warning") {
		t.Errorf("on the normal screen %q", left)
	}
	if code != exit.Command || !strings.Contains(left, "--------------- block 1\r\n127.1.0.[1,3] (2)\r\n---------------\r\nhello\r\n") || !strings.Contains(left, "fleetssh: 1 of 3 hosts failed\r\n") {
		t.Errorf("exit code %d, on the normal screen %q", code, left)
	}
}

// A host is stopped, the run pauses before the next batch, a report is written, and the failed host runs
// again. The normal screen has the failures of the first run.
func TestFullScreenKeys(t *testing.T) {
	t.Parallel()
	report := filepath.Join(t.TempDir(), "report.html")
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 3}, "run", "%", "--ui", "--batch", "2", "--max-fail", "1",
		"[ $HOSTNAME != sim00001 ] && exit 0; cat flag && exit 0; echo again > flag; echo working; sleep 600")
	r.awaitScreen("\nworking")
	r.typed("p")
	r.awaitScreen("batch 1 of 2 (2 hosts), pause before the next, ")
	r.typed("s")
	r.awaitScreen("stop the command on 127.1.0.1? y: yes, else no")
	r.typed("y")
	r.awaitScreen("Run batch 2 on 1 host? y: yes, n: stop here, a: all")
	r.typed("y")
	r.awaitScreen("3 of 3 hosts done, 1 failed")
	r.awaitScreen("ended after")
	r.typed("w\x15" + report + "\r")
	r.awaitScreen("the report is in ")
	if page, err := os.ReadFile(report); err != nil || !strings.Contains(string(page), "working") || strings.Contains(string(page), "still running") {
		t.Errorf("the report: %v\n%s", err, page)
	}
	r.typed("r")
	r.awaitScreen("run again on 127.1.0.1 (1)? y: yes, else no")
	r.typed("y")
	r.awaitScreen("1 of 1 host done")
	r.awaitScreen("ended after")
	r.typed("q")
	code, shown := r.wait()
	parts := strings.Split(shown, normalScreen)
	if len(parts) != 3 || code != exit.OK {
		t.Fatalf("exit code %d, %d views in %q", code, len(parts)-1, shown)
	}
	between, _, _ := strings.Cut(parts[1], alternateScreen)
	for _, want := range []string{"fleetssh: 1 of 3 hosts failed\r\n", "  stopped: 127.1.0.1\r\n", "fleetssh: run again on 127.1.0.1 (1)\r\n"} {
		if !strings.Contains(between, want) {
			t.Errorf("no %q between the two runs: %q", want, between)
		}
	}
}

// A copy has a view as well, and can be repeated where it failed.
func TestFullScreenCopy(t *testing.T) {
	t.Parallel()
	r, _ := startOnTerminal(t, simulate.Plan{Hosts: 3}, "get", "%", "--ui", "none-%(host)s", t.TempDir())
	r.awaitScreen("3 of 3 hosts done, 3 failed")
	r.typed("/127.1.0.2\r")
	r.awaitScreen("hosts (1 of 3), only 127.1.0.2")
	r.typed("r")
	r.awaitScreen("run again on 127.1.0.2 (1)?")
	r.typed("y")
	r.awaitScreen("1 of 1 host done, 1 failed")
	r.typed("q")
	code, shown := r.wait()
	parts := strings.Split(shown, normalScreen)
	if len(parts) != 3 || code != exit.Command {
		t.Fatalf("exit code %d, %d views in %q", code, len(parts)-1, shown)
	}
	for i, want := range []string{"fleetssh: 3 of 3 hosts failed\r\n", "none-127.1.0.2"} {
		if left, _, _ := strings.Cut(parts[i+1], alternateScreen); !strings.Contains(left, want) {
			t.Errorf("after view %d, the normal screen lacks %q: %q", i+1, want, left)
		}
	}
}

// awaitScreen waits until the screen of the terminal, without trailing spaces, has a text.
func (r *terminalRun) awaitScreen(want string) {
	r.t.Helper()
	for deadline := time.Now().Add(sshdtest.Patience); ; <-time.After(20 * time.Millisecond) {
		screen := emulated(r.shown(), 100, 30)
		if strings.Contains(screen, want) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the screen does not have %q:\n%s", want, screen)
		}
	}
}

// emulated returns the screen after an output.
func emulated(output string, width, height int) string {
	screen := vt.NewEmulator(width, height)
	var answers sync.WaitGroup
	answers.Go(func() { io.Copy(io.Discard, screen) })
	screen.WriteString(output)
	screen.InputPipe().(io.Closer).Close()
	answers.Wait()
	rows := strings.Split(screen.String(), "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " \r")
	}
	return strings.Join(rows, "\n")
}

// The first signal stops the hosts and restores the terminal, as without a view.
func TestFullScreenSignals(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*terminalRun){
		"Ctrl-C": func(r *terminalRun) { r.typed("\x03") },
		"TERM":   func(r *terminalRun) { r.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := startOnTerminal(t, simulate.Plan{Hosts: 2}, "run", "%", "--ui", "sleep 600")
			r.awaitScreen("2 running")
			if raw := terminalMode(t, r.tty); raw.Lflag&unix.ICANON != 0 {
				t.Error("the view does not read single keys")
			}
			end(r)
			r.checkInterrupted()
		})
	}
}

// The second signal ends the program at once, and restores the terminal before.
func TestFullScreenSecondInterrupt(t *testing.T) {
	t.Parallel()
	stalled := simfleet.Fault{Kind: simfleet.StallAfterStart}
	r, fleet := startOnTerminal(t, simulate.Plan{Hosts: 1, Faulty: 1, Fault: stalled}, "run", "%", "--ui", "sleep", "60")
	r.awaitScreen("1 running")
	for fleet.SSH.Servers[0].Stats().Started == 0 {
		<-time.After(time.Millisecond)
	}
	r.typed("\x03")
	r.awaitScreen("interrupted: ")
	for began := time.Now(); time.Since(began) < 2*interrupt.Doubled; <-time.After(interrupt.Doubled / 3) {
		r.cmd.Process.Signal(syscall.SIGINT) // it may have ended already
	}
	r.checkInterrupted()
}

// checkInterrupted checks that the program ends, and leaves the terminal as it was.
func (r *terminalRun) checkInterrupted() {
	r.t.Helper()
	r.next(normalScreen)
	if err := r.cmd.Wait(); r.cmd.ProcessState.ExitCode() != exit.Interrupted {
		r.t.Errorf("exit: %v", err)
	}
	if after, before := terminalMode(r.t, r.tty), newTerminalMode(r.t); after != before {
		r.t.Errorf("the mode of the terminal is %+v, was %+v", after, before)
	}
}
