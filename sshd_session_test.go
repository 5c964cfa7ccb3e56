package fleetssh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

func TestSSHDExitCodes(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	limit := make(chan struct{}, 20)
	var wg sync.WaitGroup
	for code := range 256 {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			out, err := c.RunCommand(soon(t), fleetssh.Command{Line: fmt.Sprintf("exit %d", code)})
			if err != nil {
				t.Error(err)
				return
			}
			err = out.WaitFinished(soon(t))
			if code == 0 {
				equal(t, "error of exit 0", err, nil)
			} else if e, ok := errors.AsType[*fleetssh.ExitError](err); !ok || e.Code != code || e.Signal != "" {
				t.Errorf("exit %d: %#v", code, err)
			}
			got, ok := out.ExitCode()
			equal(t, "code", got, code)
			equal(t, "known", ok, true)
			equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: code})
		})
	}
	wg.Wait()
}

func TestSSHDExitSignals(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	for _, signal := range []string{"KILL", "TERM", "SEGV", "INT", "HUP", "PIPE", "ABRT"} {
		out, stdout, _, err := runCommand(t, c, fleetssh.Command{Line: "echo before; kill -" + signal + " $$; echo after"})
		e := asError[*fleetssh.ExitError](t, err)
		equal(t, "signal", string(e.Signal), signal)
		equal(t, "code", e.Code, -1)
		equal(t, "output", stdout, "before\n")
		equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: signal})
		if code, ok := out.ExitCode(); ok {
			t.Errorf("exit code %d", code)
		}
	}
}

// The end of the output is not the end of the command, nor the other way around.
func TestSSHDExitAndOutput(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	t.Run("output ends first", func(t *testing.T) {
		out := start(t, c, fleetssh.Command{Line: "echo x; exec >&- 2>&-; sleep 1; exit 7"})
		equal(t, "output", text(t, out.Stdout), "x\n")
		equal(t, "stderr", text(t, out.Stderr), "")
		equal(t, "finished", out.Finished(), false)
		if code, ok := out.ExitCode(); ok {
			t.Errorf("exit code %d before the end", code)
		}
		equal(t, "code", asError[*fleetssh.ExitError](t, out.WaitFinished(soon(t))).Code, 7)
	})
	t.Run("a child holds the output", func(t *testing.T) {
		marker := sshdtest.Marker()
		out := start(t, c, fleetssh.Command{Line: "sleep " + marker + " & echo started; exit 3"})
		sshdtest.Eventually(t, patience, "exit code", func() bool { _, ok := out.ExitCode(); return ok })
		running(t, marker, true)
		short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		wait := asError[*fleetssh.TimeoutError](t, out.WaitFinished(short))
		equal(t, "Op", wait.Op, "wait")
		equal(t, "finished", out.Finished(), false)
		sshdtest.Kill(marker)
		equal(t, "code", asError[*fleetssh.ExitError](t, out.WaitFinished(soon(t))).Code, 3)
		equal(t, "output", text(t, out.Stdout), "started\n")
	})
	t.Run("a child without the output", func(t *testing.T) {
		out, stdout, _, err := runCommand(t, c, fleetssh.Command{Line: "sleep 2 >&- 2>&- <&- & echo started"})
		equal(t, "error", err, nil)
		equal(t, "output", stdout, "started\n")
		equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited})
	})
	t.Run("wait twice", func(t *testing.T) {
		out := start(t, c, fleetssh.Command{Line: "read line; sleep 1; echo $line; exit 5", OpenStdin: true})
		if _, err := out.Stdin.Write([]byte("hello\n")); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := out.WaitFinished(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("first wait: %v", err)
		}
		equal(t, "code", asError[*fleetssh.ExitError](t, out.WaitFinished(soon(t))).Code, 5)
		equal(t, "code again", asError[*fleetssh.ExitError](t, out.WaitFinished(soon(t))).Code, 5)
		equal(t, "output", text(t, out.Stdout), "hello\n")
	})
}

func TestSSHDClientOutput(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	equal(t, "output", output(t, c, "printf 'a\\nb'; echo err >&2"), "a\nb")
	out, err := c.Output(soon(t), "echo part; seq 100000 >&2; exit 9")
	e := asError[*fleetssh.ExitError](t, err)
	equal(t, "code", e.Code, 9)
	equal(t, "output", string(out), "part\n")
	equal(t, "kept of stderr", len(e.Stderr), 4<<10)
	if !bytes.HasSuffix(e.Stderr, []byte("99999\n100000\n")) {
		t.Errorf("stderr ends with %q", e.Stderr[len(e.Stderr)-20:])
	}
}

func TestSSHDSubsystem(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	ch, err := c.OpenSession(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Subsystem(soon(t), "sftp"); err != nil {
		t.Fatal(err)
	}
	// SSH_FXP_INIT, version 3, is answered by SSH_FXP_VERSION.
	if _, err := ch.Stdin.Write([]byte{0, 0, 0, 5, 1, 0, 0, 0, 3}); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 9)
	for n := 0; n < len(reply); {
		k, err := ch.Stdout.Read(reply[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	if !bytes.Equal(reply[4:], []byte{2, 0, 0, 0, 3}) {
		t.Errorf("reply %v", reply)
	}
	equal(t, "end", ch.WaitFinished(soon(t)), nil)

	if ch, err = c.OpenSession(soon(t)); err != nil {
		t.Fatal(err)
	}
	e := asError[*fleetssh.SessionError](t, ch.Subsystem(soon(t), "no-such-thing"))
	equal(t, "Op", e.Op, "subsystem")
	ch.Close()
}

func TestSSHDShell(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	ch, err := dial(t, host).OpenSession(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Shell(soon(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Stdin.Write([]byte("echo one\necho two\nexit 4\n")); err != nil {
		t.Fatal(err)
	}
	equal(t, "code", asError[*fleetssh.ExitError](t, ch.WaitFinished(soon(t))).Code, 4)
	if out := text(t, ch.Stdout); !strings.HasSuffix(out, "one\ntwo\n") {
		t.Errorf("output %q", out)
	}
}

func TestSSHDSessionRefused(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
	c := dial(t, host)
	first := start(t, c, fleetssh.Command{Line: "cat", OpenStdin: true})
	out, err := c.RunCommand(soon(t), fleetssh.Command{Line: "true"})
	e := asError[*fleetssh.SessionError](t, err)
	equal(t, "Op", e.Op, "open")
	equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "open"})
	equal(t, "may have run", out.Outcome().MayHaveRun(), false)
	equal(t, "Err", out.Err == err, true)
	equal(t, "first", first.WaitFinished(soon(t)), nil)
	// The place is free again, but not necessarily at once.
	sshdtest.Eventually(t, patience, "another session", func() bool { _, err := c.Output(soon(t), "true"); return err == nil })
}

func TestSSHDCommandRefused(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{Config: []string{"PermitTTY no"}})
	c := dial(t, host)
	out, err := c.RunCommand(soon(t), fleetssh.Command{Line: "true", PTY: &fleetssh.PTY{}})
	equal(t, "Op", asError[*fleetssh.SessionError](t, err).Op, "pty")
	equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "pty"})
}

// Nobody says how a command has ended: it may have run.
func TestSSHDLost(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	marker := sshdtest.Marker()
	defer sshdtest.Kill(marker)
	out := start(t, c, fleetssh.Command{Line: "echo before; exec sleep " + marker})
	running(t, marker, true)
	s.KillConnections()
	e := asError[*fleetssh.ConnectionError](t, out.WaitFinished(soon(t)))
	equal(t, "phase", e.Phase, "run")
	equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Lost})
	equal(t, "may have run", out.Outcome().MayHaveRun(), true)
	equal(t, "output", text(t, out.Stdout), "before\n")
	_, err := c.Execute(soon(t), "true")
	equal(t, "phase", asError[*fleetssh.ConnectionError](t, err).Phase, "open")
}

// A connection that has died is replaced by the next call.
func TestSSHDLostIsReplaced(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := startServer(t, sshdtest.Options{})
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, host}}
	defer p.Close()
	for range 3 {
		outs, err := p.RunCommand(soon(t), fleetssh.Command{Line: "echo hello"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Join(soon(t), outs); err != nil {
			t.Fatal(err)
		}
		s.KillConnections()
	}
}

func TestSSHDCloseDuringRun(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	out := start(t, c, fleetssh.Command{Line: "echo here; exec cat", OpenStdin: true})
	line := make([]byte, 5)
	if _, err := out.Stdout.Read(line); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		// More than the window: it waits, or fails at once.
		out.Stdin.Write(make([]byte, 64<<20))
	})
	wg.Go(func() { c.Close() })
	wg.Go(func() { c.Close() })
	wg.Wait()
	equal(t, "phase", asError[*fleetssh.ConnectionError](t, out.WaitFinished(soon(t))).Phase, "run")
	if _, err := c.Execute(soon(t), "true"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSSHDConnectTimeout(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := startServer(t, sshdtest.Options{})
	// A stopped server: the system completes the connection, nobody speaks.
	s.Pause()
	defer s.Resume()
	host.ConnectTimeout, host.Attempts = 300*time.Millisecond, 2
	begun := time.Now()
	e := dialFails[*fleetssh.TimeoutError](t, host)
	equal(t, "Op", e.Op, "handshake")
	equal(t, "attempts", e.Attempts, 2)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// localhost has two addresses; at most one of them answers.
func TestSSHDSecondAddress(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := startServer(t, sshdtest.Options{})
	host.Host = "localhost"
	host.HostKeys = trust(t, knownLines(fmt.Sprintf("[localhost]:%d", s.Port), keysOf(s)...)...)
	equal(t, "output", output(t, dial(t, host), "echo here"), "here\n")
	host.AddressFamily = "ip6"
	host.Attempts = 1
	if _, err := fleetssh.Dial(soon(t), host); err == nil {
		t.Error("connected to an address on which nobody listens")
	}
}

func TestSSHDSignal(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host, _ := accountServer(t, sshdtest.Bob, sshdtest.Options{})
	c := dial(t, host)
	out := start(t, c, fleetssh.Command{Line: "trap 'echo got it; exit 6' USR1; echo ready; while :; do sleep 0.05; done"})
	buf := make([]byte, 6)
	if _, err := out.Stdout.Read(buf); err != nil {
		t.Fatal(err)
	}
	if err := out.Signal(soon(t), ssh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	equal(t, "code", asError[*fleetssh.ExitError](t, out.WaitFinished(soon(t))).Code, 6)
	equal(t, "output", text(t, out.Stdout), "got it\n")
}

// LoginShell is the user's own shell, as ssh runs it without a command.
func TestSSHDLoginShell(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	out, stdout, _, err := runCommand(t, dial(t, host), fleetssh.Command{LoginShell: true, Stdin: strings.NewReader("echo \"$0\" | cut -c 1; exit 3\n")})
	equal(t, "code", asError[*fleetssh.ExitError](t, err).Code, 3)
	equal(t, "name of the shell", stdout[strings.LastIndexByte(strings.TrimSpace(stdout), '\n')+1:], "-\n")
	equal(t, "line", out.CommandLine, "")
}
