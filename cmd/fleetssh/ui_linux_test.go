package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/simfleet"
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
	r.next("ended after")
	r.next("1 failed")
	r.typed("?")
	r.next("suspend fleetssh")
	r.typed("q")
	r.next("Tab")
	r.typed("q")
	code, shown := r.wait()
	_, left, _ := strings.Cut(shown, normalScreen)
	if code != exit.Command || !strings.Contains(left, "127.1.0.[1,3] (2)\r\n---------------\r\nhello\r\n") || !strings.Contains(left, "fleetssh: 1 of 3 hosts failed\r\n") {
		t.Errorf("exit code %d, on the normal screen %q", code, left)
	}
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
			r.next("2 running")
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
	r.next("1 running")
	for fleet.SSH.Servers[0].Stats().Started == 0 {
		<-time.After(time.Millisecond)
	}
	r.typed("\x03")
	r.next("interrupted: ")
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
