package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/internal/sshdtest"
)

// When the terminal goes, or the process is to end, nothing of what a line of a dialogue has
// started runs on.
func TestDialogueEndsWhatRuns(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) { // as nohup(1) has it, for what is started here too
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	for _, end := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			r, _ := startOnTerminal(t, simPlan{hosts: 1}, append([]string{"shell", "--no-label"}, openSSH(t, "root")...)...)
			r.await("127.0.0.1 (1)> ")
			sleep := sshdtest.Marker()
			r.typed("echo begun; sleep " + sleep + "\r")
			r.await("begun\r\n")
			for deadline := time.Now().Add(sshdtest.Patience); len(sshdtest.Processes(sleep)) == 0; <-time.After(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it does not run")
				}
			}
			if err := r.cmd.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			if code, shown := r.wait(); code != exit.Interrupted {
				t.Errorf("exit code %d: %s", code, shown)
			}
			for deadline := time.Now().Add(sshdtest.Patience); len(sshdtest.Processes(sleep)) > 0; <-time.After(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it runs on")
				}
			}
		})
	}
}

// Where the terminal is handed to one host, flags about many have no effect, and are refused.
func TestTerminalOfOneHost(t *testing.T) {
	t.Parallel()
	fleet, err := startSim(simPlan{hosts: 1}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.close()
	for flag, args := range map[string][]string{
		"--batch": {"--batch", "1"}, "--pause": {"--batch", "1", "--pause", "1s"}, "--max-fail": {"--max-fail", "1"}, "--confirm-over": {"--confirm-over", "1"},
	} {
		o := startHere(t, fleetEnv(fleet), nil, append([]string{"run", "%", "--tty"}, append(args, "true")...)...)
		if shown := o.end(exit.Usage); !strings.Contains(shown, " has no effect here: --tty gives") {
			t.Errorf("%s: shown %q", flag, shown)
		}
	}
	if n := fleet.fleet.Servers[0].Stats().Connections; n > 0 {
		t.Errorf("%d connections", n)
	}
}
