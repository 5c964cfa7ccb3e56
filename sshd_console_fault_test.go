package fleetssh_test

import (
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// A connection that is cut in the middle of a line ends the line, with what had come.
func TestSSHDConsoleCut(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	server, host := startServer(t, sshdtest.Options{})
	s := openLost(t, dial(t, host))
	out := startLine(t, s, "echo begun; echo second; exec sleep 30")
	readLine(t, out, "begun")
	readLine(t, out, "second")
	server.KillConnections()
	asError[*fleetssh.ConnectionError](t, out.WaitFinished(soon(t)))
	equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Lost})
	equal(t, "finished", s.Finished(), true)
	_, err := s.Run(soon(t), fleetssh.ConsoleLine{Text: "true"})
	asError[*fleetssh.ConnectionError](t, err)
}

// A host that says nothing any more holds up neither a signal nor Stop.
func TestSSHDConsoleSilent(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	server, host := startServer(t, sshdtest.Options{})
	s := openLost(t, dial(t, host))
	out := startLine(t, s, "echo begun; sleep 30")
	readLine(t, out, "begun")
	resume := server.PauseConnections()
	defer resume()
	if err := out.Signal(soon(t), ssh.SIGINT); err == nil {
		t.Error("a host that is silent took a signal")
	}
	asError[*fleetssh.SessionError](t, out.Stop(soon(t)))
	equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled})
	equal(t, "finished", s.Finished(), true)
}
