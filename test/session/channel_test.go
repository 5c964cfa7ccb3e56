package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

func TestExecute(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, nil).Dial(t)
	ch, err := c.Execute(t.Context(), "cat; echo end >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := ch.ExitCode(); ok || ch.Finished() || ch.Outcome().Kind != fleetssh.Running {
		t.Error("finished although it waits for input")
	}
	if n, err := io.WriteString(ch.Stdin, "to and fro"); n != 10 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// WaitFinished closes the input, which ends cat.
	err = ch.WaitFinished(soon)
	if timeout, ok := errors.AsType[*fleetssh.TimeoutError](err); ok && timeout.Phase == "wait" {
		err = ch.WaitFinished(t.Context())
	}
	exit, ok := errors.AsType[*fleetssh.ExitError](err)
	if !ok || exit.Code != 3 {
		t.Errorf("WaitFinished: %v", err)
	}
	if code, ok := ch.ExitCode(); !ok || code != 3 || !ch.Finished() {
		t.Errorf("exit code %d, %v", code, ok)
	}
	if out, errOut := fleettest.Text(t, ch.Stdout), fleettest.Text(t, ch.Stderr); out != "to and fro" || errOut != "end\n" {
		t.Errorf("%q, %q", out, errOut)
	}
	if err := ch.Close(); err != nil {
		t.Error(err)
	}
	if err := ch.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if o := ch.Outcome(); o.Kind != fleetssh.Exited {
		t.Errorf("outcome after Close: %v", o)
	}
}

func TestWaitCancelled(t *testing.T) {
	t.Parallel()
	ch, err := fleettest.NewServer(t, nil).Dial(t).Execute(t.Context(), "sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = ch.WaitFinished(ctx)
	if _, ok := errors.AsType[*fleetssh.TimeoutError](err); !ok || !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := ch.Signal(t.Context(), ssh.SIGINT); err != nil {
		t.Errorf("signal: %v", err)
	}
	err = ch.WaitFinished(t.Context())
	if exit, ok := errors.AsType[*fleetssh.ExitError](err); !ok || exit.Signal != ssh.SIGINT || exit.Code != -1 {
		t.Errorf("%v", err)
	}
}

func TestSessionSteps(t *testing.T) {
	t.Parallel()
	server := fleettest.NewServer(t, func(h *simfleet.Host) {
		h.Subsystems = map[string]simfleet.Handler{"echo": func(s *simfleet.Session) simfleet.Status {
			io.Copy(s.Stdout, s.Stdin)
			return simfleet.Status{}
		}}
		h.Handler = func(s *simfleet.Session) simfleet.Status {
			if s.Line != "resize" {
				return simfleet.Shell(s)
			}
			cols, rows := s.WindowSize()
			fmt.Fprintln(s.Stdout, s.PTY.Term, rows, cols)
			fleettest.Eventually(t, "the new size", func() bool {
				cols, rows = s.WindowSize()
				return cols == 100 && rows == 50
			})
			return simfleet.Status{}
		}
	})
	c := server.Dial(t)
	ctx := t.Context()

	ch, err := c.OpenSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.RequestPTY(ctx, fleetssh.PTY{Cols: 132}); err != nil {
		t.Fatal(err)
	}
	if err := ch.Exec(ctx, "resize"); err != nil {
		t.Fatal(err)
	}
	for line, err := range ch.Stdout.Lines(ctx) {
		if err != nil || line != "xterm 24 132" {
			t.Errorf("terminal: %q, %v", line, err)
		}
		break
	}
	if err := ch.Resize(50, 100); err != nil {
		t.Error(err)
	}
	if err := ch.WaitFinished(ctx); err != nil {
		t.Error(err)
	}
	if err := ch.Exec(ctx, "true"); err == nil {
		t.Error("a channel can be started twice")
	}

	if ch, err = c.OpenSession(ctx); err != nil {
		t.Fatal(err)
	}
	if err := ch.Subsystem(ctx, "echo"); err != nil {
		t.Fatal(err)
	}
	io.WriteString(ch.Stdin, "x")
	if err := ch.WaitFinished(ctx); err != nil || fleettest.Text(t, ch.Stdout) != "x" {
		t.Errorf("subsystem: %v", err)
	}

	if ch, err = c.OpenSession(ctx); err != nil {
		t.Fatal(err)
	}
	if err := ch.Shell(ctx); err != nil {
		t.Fatal(err)
	}
	io.WriteString(ch.Stdin, "echo from the shell\nexit 4\n")
	err = ch.WaitFinished(ctx)
	if exit, ok := errors.AsType[*fleetssh.ExitError](err); !ok || exit.Code != 4 || fleettest.Text(t, ch.Stdout) != "from the shell\n" {
		t.Errorf("shell: %v", err)
	}

	if ch, err = c.OpenSession(ctx); err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(); err != nil || !ch.Finished() {
		t.Errorf("closing a channel that was never started: %v", err)
	}
	if err := ch.Exec(ctx, "true"); err == nil {
		t.Error("a closed channel can be started")
	}

	if ch, err = c.OpenSession(ctx); err != nil {
		t.Fatal(err)
	}
	refused := (*fleetssh.SessionError)(nil)
	if err := ch.Subsystem(ctx, "nope"); !errors.As(err, &refused) || refused.Phase != "subsystem" {
		t.Errorf("unknown subsystem: %v", err)
	}
}

func TestClientOutput(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, nil).Dial(t)
	out, err := c.Output(t.Context(), "bytes 100000")
	if err != nil || len(out) != 100000 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	out, err = c.Output(t.Context(), "echo some; stderr why; exit 2")
	if exit, ok := errors.AsType[*fleetssh.ExitError](err); !ok || exit.Code != 2 || string(exit.Stderr) != "why\n" || string(out) != "some\n" {
		t.Errorf("%q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Lapse)
	defer cancel()
	out, err = c.Output(ctx, "echo begun; sleep 1000")
	if !errors.Is(err, context.DeadlineExceeded) || string(out) != "begun\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestSSH uses the SSH library's connection beside the client's own sessions.
func TestSSH(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, nil).Dial(t)
	for range 2 {
		session, err := c.SSH().NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := session.Output("echo plain"); err != nil || string(out) != "plain\n" {
			t.Errorf("%q, %v", out, err)
		}
	}
	if out, err := c.Output(t.Context(), "echo ours"); err != nil || string(out) != "ours\n" {
		t.Errorf("%q, %v", out, err)
	}
	c.Close()
	if _, err := c.SSH().NewSession(); err == nil {
		t.Error("a closed connection gives sessions")
	}
	if _, err := c.Execute(t.Context(), "true"); err == nil {
		t.Error("a closed client runs commands")
	}
}

// Closing a channel, its input or its client unblocks a Write to a host that does not read, and
// so does Stop.
func TestStdinThatIsNotRead(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"channel", "input", "client", "stop"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			c := fleettest.Faulty(t, simfleet.NeverReadStdin).Dial(t)
			ch, err := c.Execute(t.Context(), "sleep 60")
			if err != nil {
				t.Fatal(err)
			}
			wrote := make(chan error, 1)
			begun := make(chan struct{})
			go func() {
				close(begun)
				_, err := ch.Stdin.Write(make([]byte, 8<<20))
				wrote <- err
			}()
			<-begun
			select {
			case err := <-wrote:
				t.Fatalf("8 MiB were written to a host that does not read: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			switch way {
			case "channel":
				ch.Close()
			case "input":
				ch.Stdin.Close() // sends EOF; the channel stays open
				ch.Close()
			case "client":
				c.Close()
			case "stop":
				ch.Stop(t.Context())
			}
			if err := <-wrote; err == nil {
				t.Error("the write succeeded")
			}
		})
	}
}

func TestClientRunCommand(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, func(h *simfleet.Host) { h.SudoPassword = "open sesame" }).Dial(t)
	answer := func(password string) func(context.Context, fleetssh.HostConfig) (string, error) {
		return func(context.Context, fleetssh.HostConfig) (string, error) { return password, nil }
	}
	for _, test := range []struct {
		name, want, errOut string
		cmd                fleetssh.Command
		err                string
	}{
		{"plain", "hi\n", "", fleetssh.Command{Line: "echo hi"}, ""},
		{"arguments", "a b\n", "", fleetssh.Command{Line: "echo %q", HostArgs: []fleetssh.Args{{List: []string{"a b"}}}}, ""},
		{"stdin", "in", "", fleetssh.Command{Line: "cat", Stdin: strings.NewReader("in")}, ""},
		{"env", "a $b\n", "", fleetssh.Command{Line: `echo "$V"`, Env: map[string]string{"V": "a $b"}}, ""},
		{"shell", "hi\n", "", fleetssh.Command{Line: "echo hi", Shell: "bash -c"}, ""},
		{"sudo", "root\nin", "", fleetssh.Command{Line: "whoami; cat", Sudo: true, SudoPassword: answer("open sesame"), Stdin: strings.NewReader("in")}, ""},
		{"sudo as another user", "bob\n", "", fleetssh.Command{Line: "whoami", User: "bob", SudoPassword: answer("open sesame")}, ""},
		{"sudo on a terminal", "root\r\n", "", fleetssh.Command{Line: "whoami", Sudo: true, PTY: &fleetssh.PTY{}, SudoPassword: answer("open sesame")}, ""},
		{"sudo, wrong password", "", "", fleetssh.Command{Line: "whoami", Sudo: true, SudoPassword: answer("wrong")}, "sudo on"},
		{"sudo, password in stdin", "root\n", "", fleetssh.Command{Line: "whoami", Sudo: true, Stdin: strings.NewReader("open sesame\n")}, ""},
		{"sudo, no password at all", "", "no password was provided", fleetssh.Command{Line: "whoami", Sudo: true}, "exited with code 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := c.RunCommand(t.Context(), test.cmd)
			if err != nil {
				t.Fatal(err)
			}
			err = out.WaitFinished(t.Context())
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v", err)
			}
			got, errOut := fleettest.Text(t, out.Stdout), fleettest.Text(t, out.Stderr)
			if test.err == "" && got != test.want || !strings.Contains(errOut, test.errOut) {
				t.Errorf("stdout %q, stderr %q", got, errOut)
			}
			for _, secret := range []string{"[sudo-", "[started-", "open sesame"} {
				if strings.Contains(got+errOut, secret) || secret == "open sesame" && strings.Contains(out.CommandLine, secret) {
					t.Errorf("%q is in the output or the command line", secret)
				}
			}
			if o := out.Outcome(); test.name == "sudo, wrong password" && (o.Kind != fleetssh.NotStarted || o.Phase != "" && o.Phase != "sudo") {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestReadTimeout(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, nil).Dial(t)
	out, err := c.RunCommand(t.Context(), fleetssh.Command{Line: "printf first; cat", OpenStdin: true, ReadTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	timeouts := 0
	for {
		_, err := io.Copy(&got, out.Stdout)
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if timeouts++; timeouts > 1 {
			continue
		}
		if _, err := io.WriteString(out.Stdin, "second\n"); err != nil {
			t.Fatal(err)
		}
		out.Stdin.Close()
	}
	if got.String() != "firstsecond\n" || timeouts == 0 {
		t.Errorf("%q, %d time-outs", got.String(), timeouts)
	}
}
