package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/sshdtest"
)

// On SIGHUP and SIGTERM, the shell stops the command that is running on its hosts.
func TestShellStopsCommandOnSignal(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) { // by nohup(1), and a child process would inherit that
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	for _, end := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			r, _ := startOnTerminal(t, simulate.Plan{Hosts: 1}, append([]string{"shell", "--no-label"}, openSSH(t, "root")...)...)
			r.await("127.0.0.1 (1)> ")
			sleep := sshdtest.Marker()
			r.typed("echo begun; sleep " + sleep + "\r")
			r.await("begun\r\n")
			for deadline := time.Now().Add(sshdtest.Patience); len(sshdtest.Processes(sleep)) == 0; <-time.After(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("sleep does not start")
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
					t.Fatal("sleep is still running")
				}
			}
		})
	}
}

// A session hands the terminal to one host, so flags for many hosts are refused.
func TestTerminalOfOneHost(t *testing.T) {
	t.Parallel()
	fleet, err := simulate.Start(simulate.Plan{Hosts: 1}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	for flag, args := range map[string][]string{
		"--batch": {"--batch", "1"}, "--pause": {"--batch", "1", "--pause", "1s"}, "--max-fail": {"--max-fail", "1"}, "--confirm-over": {"--confirm-over", "1"},
	} {
		o := startOnOwnTerminal(t, fleetEnv(fleet), nil, append([]string{"run", "%", "--tty"}, append(args, "true")...)...)
		if shown := o.end(exit.Usage); !strings.Contains(shown, " has no effect here: --tty gives") {
			t.Errorf("%s: shown %q", flag, shown)
		}
	}
	if n := fleet.SSH.Servers[0].Stats().Connections; n > 0 {
		t.Errorf("%d connections", n)
	}
}
