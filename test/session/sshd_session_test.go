package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

func TestSSHDExitCodes(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	limit := make(chan struct{}, 20)
	var wg sync.WaitGroup
	for code := range 256 {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			out, err := c.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: fmt.Sprintf("exit %d", code)})
			if err != nil {
				t.Error(err)
				return
			}
			err = out.WaitFinished(fleettest.Soon(t))
			if code == 0 {
				fleettest.Equal(t, "error of exit 0", err, nil)
			} else if e, ok := errors.AsType[*fleetssh.ExitError](err); !ok || e.Code != code || e.Signal != "" {
				t.Errorf("exit %d: %#v", code, err)
			}
			got, ok := out.ExitCode()
			fleettest.Equal(t, "code", got, code)
			fleettest.Equal(t, "known", ok, true)
			fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: code})
		})
	}
	wg.Wait()
}

func TestSSHDExitSignals(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	for _, signal := range []string{"KILL", "TERM", "SEGV", "INT", "HUP", "PIPE", "ABRT"} {
		out, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "echo before; kill -" + signal + " $$; echo after"})
		e := fleettest.AsError[*fleetssh.ExitError](t, err)
		fleettest.Equal(t, "signal", string(e.Signal), signal)
		fleettest.Equal(t, "code", e.Code, -1)
		fleettest.Equal(t, "output", stdout, "before\n")
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: signal})
		if code, ok := out.ExitCode(); ok {
			t.Errorf("exit code %d", code)
		}
	}
}

// The output may end before the command, and the command before its output.
func TestSSHDExitAndOutput(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	t.Run("output ends first", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: "echo x; exec >&- 2>&-; read end; exit 7", OpenStdin: true})
		fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "x\n")
		fleettest.Equal(t, "stderr", fleettest.Text(t, out.Stderr), "")
		fleettest.Equal(t, "finished", out.Finished(), false)
		if code, ok := out.ExitCode(); ok {
			t.Errorf("exit code %d before the end", code)
		}
		fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, out.WaitFinished(fleettest.Soon(t))).Code, 7)
	})
	t.Run("a child keeps the output open", func(t *testing.T) {
		marker := sshdtest.Marker()
		out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker + " & echo started; exit 3"})
		sshdtest.Eventually(t, fleettest.Patience, "exit code", func() bool { _, ok := out.ExitCode(); return ok })
		fleettest.Running(t, marker, true)
		short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		wait := fleettest.AsError[*fleetssh.TimeoutError](t, out.WaitFinished(short))
		fleettest.Equal(t, "phase", wait.Phase, "wait")
		fleettest.Equal(t, "finished", out.Finished(), false)
		sshdtest.Kill(marker)
		fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, out.WaitFinished(fleettest.Soon(t))).Code, 3)
		fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "started\n")
	})
	t.Run("a child without the output", func(t *testing.T) {
		out, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "sleep 2 >&- 2>&- <&- & echo started"})
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "output", stdout, "started\n")
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited})
	})
	t.Run("wait twice", func(t *testing.T) {
		goOn := filepath.Join(t.TempDir(), "go on")
		out := fleettest.Start(t, c, fleetssh.Command{Line: "read line; until [ -e '" + goOn + "' ]; do sleep 0.05; done; echo $line; exit 5", OpenStdin: true})
		if _, err := out.Stdin.Write([]byte("hello\n")); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := out.WaitFinished(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("first wait: %v", err)
		}
		if err := os.WriteFile(goOn, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, out.WaitFinished(fleettest.Soon(t))).Code, 5)
		fleettest.Equal(t, "code again", fleettest.AsError[*fleetssh.ExitError](t, out.WaitFinished(fleettest.Soon(t))).Code, 5)
		fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "hello\n")
	})
}

func TestSSHDClientOutput(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	fleettest.Equal(t, "output", fleettest.Output(t, c, "printf 'a\\nb'; echo err >&2"), "a\nb")
	out, err := c.Output(fleettest.Soon(t), "echo part; seq 100000 >&2; exit 9")
	e := fleettest.AsError[*fleetssh.ExitError](t, err)
	fleettest.Equal(t, "code", e.Code, 9)
	fleettest.Equal(t, "output", string(out), "part\n")
	fleettest.Equal(t, "kept of stderr", len(e.Stderr), 4<<10)
	if !bytes.HasSuffix(e.Stderr, []byte("99999\n100000\n")) {
		t.Errorf("stderr ends with %q", e.Stderr[len(e.Stderr)-20:])
	}
}

func TestSSHDSubsystem(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	ch, err := c.OpenSession(fleettest.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Subsystem(fleettest.Soon(t), "sftp"); err != nil {
		t.Fatal(err)
	}
	// The server answers SSH_FXP_INIT, version 3, with SSH_FXP_VERSION.
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
	fleettest.Equal(t, "end", ch.WaitFinished(fleettest.Soon(t)), nil)

	if ch, err = c.OpenSession(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	e := fleettest.AsError[*fleetssh.SessionError](t, ch.Subsystem(fleettest.Soon(t), "no-such-thing"))
	fleettest.Equal(t, "phase", e.Phase, "subsystem")
	ch.Close()
}

func TestSSHDShell(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	ch, err := fleettest.Dial(t, host).OpenSession(fleettest.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Shell(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Stdin.Write([]byte("echo one\necho two\nexit 4\n")); err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, ch.WaitFinished(fleettest.Soon(t))).Code, 4)
	if out := fleettest.Text(t, ch.Stdout); !strings.HasSuffix(out, "one\ntwo\n") {
		t.Errorf("output %q", out)
	}
}

func TestSSHDSessionRefused(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
	c := fleettest.Dial(t, host)
	first := fleettest.Start(t, c, fleetssh.Command{Line: "cat", OpenStdin: true})
	out, err := c.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"})
	e := fleettest.AsError[*fleetssh.SessionError](t, err)
	fleettest.Equal(t, "phase", e.Phase, "open")
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "open"})
	fleettest.Equal(t, "may have run", out.Outcome().MayHaveRun(), false)
	fleettest.Equal(t, "Err", out.Err == err, true)
	fleettest.Equal(t, "first", first.WaitFinished(fleettest.Soon(t)), nil)
	// The session is free again, but not necessarily at once.
	sshdtest.Eventually(t, fleettest.Patience, "another session", func() bool { _, err := c.Output(fleettest.Soon(t), "true"); return err == nil })
}

func TestSSHDCommandRefused(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"PermitTTY no"}})
	c := fleettest.Dial(t, host)
	out, err := c.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true", PTY: &fleetssh.PTY{}})
	fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.SessionError](t, err).Phase, "pty")
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "pty"})
}

// The server reports no exit status: the command may have run.
func TestSSHDLost(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	marker := sshdtest.Marker()
	defer sshdtest.Kill(marker)
	out := fleettest.Start(t, c, fleetssh.Command{Line: "echo before; exec sleep " + marker})
	fleettest.Running(t, marker, true)
	s.KillConnections()
	e := fleettest.AsError[*fleetssh.ConnectionError](t, out.WaitFinished(fleettest.Soon(t)))
	fleettest.Equal(t, "phase", e.Phase, "run")
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Lost})
	fleettest.Equal(t, "may have run", out.Outcome().MayHaveRun(), true)
	fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "before\n")
	_, err := c.Execute(fleettest.Soon(t), "true")
	fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.ConnectionError](t, err).Phase, "open")
}

// The next call replaces a dead connection.
func TestSSHDLostIsReplaced(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, host}}
	defer p.Close()
	for range 3 {
		outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo hello"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Join(fleettest.Soon(t), outs); err != nil {
			t.Fatal(err)
		}
		s.KillConnections()
	}
}

func TestSSHDCloseDuringRun(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	out := fleettest.Start(t, c, fleetssh.Command{Line: "echo here; exec cat", OpenStdin: true})
	line := make([]byte, 5)
	if _, err := out.Stdout.Read(line); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		// More than the window: the Write blocks, or fails at once.
		out.Stdin.Write(make([]byte, 64<<20))
	})
	wg.Go(func() { c.Close() })
	wg.Go(func() { c.Close() })
	wg.Wait()
	fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.ConnectionError](t, out.WaitFinished(fleettest.Soon(t))).Phase, "run")
	if _, err := c.Execute(fleettest.Soon(t), "true"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSSHDConnectTimeout(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	// A stopped server: the kernel accepts the connection, and sshd never answers.
	s.Pause()
	defer s.Resume()
	host.ConnectTimeout, host.Attempts = 5*time.Second, 2
	e := fleettest.DialFails[*fleetssh.TimeoutError](t, host)
	fleettest.Equal(t, "phase", e.Phase, "handshake")
	fleettest.Equal(t, "attempts", e.Attempts, 2)
}

// localhost has two addresses; at most one of them answers.
func TestSSHDSecondAddress(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	host.Host = "localhost"
	host.HostKeys = fleettest.Trust(t, fleettest.KnownLines(fmt.Sprintf("[localhost]:%d", s.Port), fleettest.KeysOf(s)...)...)
	fleettest.Equal(t, "output", fleettest.Output(t, fleettest.Dial(t, host), "echo here"), "here\n")
	host.AddressFamily = "ip6"
	host.Attempts = 1
	if _, err := fleetssh.Dial(fleettest.Soon(t), host); err == nil {
		t.Error("connected to an address on which nothing listens")
	}
}

func TestSSHDSignal(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host, _ := fleettest.AccountSSHD(t, sshdtest.Bob, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	out := fleettest.Start(t, c, fleetssh.Command{Line: "trap 'echo got it; exit 6' USR1; echo ready; while :; do sleep 0.05; done"})
	buf := make([]byte, 6)
	if _, err := out.Stdout.Read(buf); err != nil {
		t.Fatal(err)
	}
	if err := out.Signal(fleettest.Soon(t), ssh.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, out.WaitFinished(fleettest.Soon(t))).Code, 6)
	fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "got it\n")
}

// LoginShell is the user's own shell, which ssh starts without a command.
func TestSSHDLoginShell(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	out, stdout, _, err := fleettest.RunCommand(t, fleettest.Dial(t, host), fleetssh.Command{LoginShell: true, Stdin: strings.NewReader("echo \"$0\" | cut -c 1; exit 3\n")})
	fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 3)
	fleettest.Equal(t, "name of the shell", stdout[strings.LastIndexByte(strings.TrimSpace(stdout), '\n')+1:], "-\n")
	fleettest.Equal(t, "line", out.CommandLine, "")
}
