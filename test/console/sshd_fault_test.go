package console

import (
	"context"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// If the connection is cut during a line, the line is lost, and its output so far is kept.
func TestSSHDConsoleCut(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	server, host := fleettest.StartSSHD(t, sshdtest.Options{})
	s := openConsoleToLose(t, fleettest.Dial(t, host))
	out := startLine(t, s, "echo begun; echo second; exec sleep 30")
	readLine(t, out, "begun")
	readLine(t, out, "second")
	server.KillConnections()
	fleettest.AsError[*fleetssh.ConnectionError](t, out.WaitFinished(fleettest.Soon(t)))
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Lost})
	fleettest.Equal(t, "finished", s.Finished(), true)
	_, err := s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "true"})
	fleettest.AsError[*fleetssh.ConnectionError](t, err)
}

// A silent host delays neither Signal nor Stop.
func TestSSHDConsoleSilent(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	server, host := fleettest.StartSSHD(t, sshdtest.Options{})
	s := openConsoleToLose(t, fleettest.Dial(t, host))
	out := startLine(t, s, "echo begun; sleep 30")
	readLine(t, out, "begun")
	resume := server.PauseConnections()
	defer resume()
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Lapse)
	defer cancel()
	if err := out.Signal(ctx, ssh.SIGINT); err == nil {
		t.Error("Signal succeeds on a silent host")
	}
	fleettest.AsError[*fleetssh.SessionError](t, out.Stop(fleettest.Soon(t)))
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled})
	fleettest.Equal(t, "finished", s.Finished(), true)
}
