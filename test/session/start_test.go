package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// A host that does not answer the request to start a command has started it if it sends output
// or an exit status.
func TestStartWithoutReply(t *testing.T) {
	t.Parallel()
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, test := range []struct {
		command fleetssh.Command
		want    fleetssh.Outcome
		output  string
	}{
		{fleetssh.Command{Line: "echo ok; exit 5"}, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 5}, "ok\n"},
		{fleetssh.Command{Line: "exit 7"}, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 7}, ""},
		{fleetssh.Command{Line: "stderr all is well"}, fleetssh.Outcome{Kind: fleetssh.Exited}, "all is well\n"},
		{fleetssh.Command{Line: "kill -9 $$"}, fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: "KILL"}, ""},
		{fleetssh.Command{Line: "cat", Stdin: strings.NewReader("eaten\n")}, fleetssh.Outcome{Kind: fleetssh.Exited}, "eaten\n"},
		{fleetssh.Command{Script: &fleetssh.Script{Text: []byte("echo from a script; exit 3")}}, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3}, "from a script\n"},
		{fleetssh.Command{Line: "echo on; sleep 1000", Timeout: fleettest.Lapse}, fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true}, "on\n"},
	} {
		all.Run(test.command.Line, func(t *testing.T) {
			p := fleettest.NewFleet(t, fleettest.Faulty(t, simfleet.NoStartReply).Config())
			for out := range finished(t, p, test.command) {
				fleettest.Equal(t, "outcome", out.Outcome(), test.want)
				fleettest.Equal(t, "error", out.Err, nil)
			}
			if test.command.Stdin != nil {
				test.command.Stdin = strings.NewReader("eaten\n")
			}
			outs, err := p.RunCommand(fleettest.Soon(t), test.command)
			if err != nil {
				t.Fatal(err)
			}
			p.Join(fleettest.Soon(t), outs)
			fleettest.Equal(t, "outcome", outs[0].Outcome(), test.want)
			fleettest.Equal(t, "output", fleettest.Text(t, outs[0].Stdout)+fleettest.Text(t, outs[0].Stderr), test.output)
		})
	}
}

// Messages without a preceding answer are interpreted by their content.
func TestStartHalfAnswered(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		serve func(ssh.Channel, *ssh.Request)
		want  fleetssh.Outcome
		out   string
	}{
		{"output, then a refusal", func(ch ssh.Channel, exec *ssh.Request) {
			io.WriteString(ch, "no such command\n")
			exec.Reply(false, nil)
		}, fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "exec"}, ""},
		{"output, then the end", func(ch ssh.Channel, _ *ssh.Request) { io.WriteString(ch, "working\n") }, fleetssh.Outcome{Kind: fleetssh.Lost}, "working\n"},
		{"the end", func(ssh.Channel, *ssh.Request) {}, fleetssh.Outcome{Kind: fleetssh.Lost}, ""},
		{"the status and the end, after that the answer", func(ch ssh.Channel, exec *ssh.Request) {
			io.WriteString(ch, "fast\n")
			ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{3}))
			ch.CloseWrite()
			exec.Reply(true, nil)
		}, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3}, "fast\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			host := fleettest.Hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
				for asked := range channels {
					ch, requests, err := asked.Accept()
					if err != nil {
						return
					}
					go func() {
						test.serve(ch, <-requests)
						ch.Close()
						ssh.DiscardRequests(requests)
					}()
				}
			})
			p := fleettest.NewFleet(t, host)
			outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "anything"})
			if (err == nil) != (test.out != "") {
				t.Error(err)
			}
			p.Join(fleettest.Soon(t), outs)
			fleettest.Equal(t, "outcome", outs[0].Outcome(), test.want)
			fleettest.Equal(t, "output", fleettest.Text(t, outs[0].Stdout), test.out)
		})
	}
}

// Error messages of the remote copy program are reported too.
func TestCopyWithoutReply(t *testing.T) {
	t.Parallel()
	host := fleettest.Hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
		for asked := range channels {
			ch, requests, err := asked.Accept()
			if err != nil {
				return
			}
			go func() {
				<-requests
				io.WriteString(ch.Stderr(), "scp: command not found\n")
				ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{127}))
				ch.Close()
				ssh.DiscardRequests(requests)
			}()
		}
	})
	c := fleettest.Dial(t, host)
	_, err := c.Upload(fleettest.Soon(t), "start_test.go", "there", &fleetssh.CopyOptions{Protocol: fleetssh.SCP})
	if err == nil || !strings.Contains(err.Error(), "command not found") {
		t.Error(err)
	}
}

// A command that has ended by itself keeps that outcome, even if the caller gives it up because
// a child process holds its output open.
func TestSSHDStopAfterEnd(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	all := fleettest.Together{T: t}
	defer all.Wait()
	exited := fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3}
	for _, way := range []struct {
		name string
		stop func(ctx context.Context, p *fleetssh.ParallelClient, out *fleetssh.HostOutput)
	}{
		{"Stop", func(ctx context.Context, _ *fleetssh.ParallelClient, out *fleetssh.HostOutput) {
			fleettest.Equal(t, "Stop", out.Stop(ctx), nil)
		}},
		{"Close", func(_ context.Context, _ *fleetssh.ParallelClient, out *fleetssh.HostOutput) { out.Close() }},
		{"ParallelClient.Close", func(_ context.Context, p *fleetssh.ParallelClient, _ *fleetssh.HostOutput) { p.Close() }},
	} {
		all.Run(way.name, func(t *testing.T) {
			p := fleettest.NewFleet(t, host)
			marker := sshdtest.Marker()
			outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "sleep " + marker + " & echo started; exit 3"})
			if err != nil {
				t.Fatal(err)
			}
			fleettest.Eventually(t, "the status", func() bool { _, ok := outs[0].ExitCode(); return ok })
			fleettest.Equal(t, "finished", outs[0].Finished(), false)
			// The status may come before the output, which Close does not wait for.
			said := make([]byte, len("started\n"))
			if _, err := io.ReadFull(outs[0].Stdout, said); err != nil {
				t.Error(err)
			}
			fleettest.Equal(t, "output", string(said), "started\n")
			way.stop(fleettest.Soon(t), p, outs[0])
			fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, outs[0].WaitFinished(fleettest.Soon(t))).Code, 3)
			fleettest.Equal(t, "outcome", outs[0].Outcome(), exited)
			sshdtest.Kill(marker)
		})
	}
	for _, way := range []string{"Timeout", "cancelled Stream"} {
		all.Run(way, func(t *testing.T) {
			p := fleettest.NewFleet(t, host)
			marker := sshdtest.Marker()
			cmd := fleetssh.Command{Line: "sleep " + marker + " & echo started; exit 3"}
			ctx, cancel := context.WithCancel(fleettest.Soon(t))
			defer cancel()
			if way == "Timeout" {
				cmd.Timeout = fleettest.Lapse
			}
			events, err := p.Stream(ctx, cmd)
			if err != nil {
				t.Fatal(err)
			}
			for ev := range events {
				switch {
				case ev.Kind == fleetssh.StdoutLine && way != "Timeout":
					fleettest.Eventually(t, "the status", func() bool { _, ok := ev.Output.ExitCode(); return ok })
					cancel()
				case ev.Kind == fleetssh.Finished:
					fleettest.Equal(t, "outcome", ev.Output.Outcome(), exited)
				}
			}
			sshdtest.Kill(marker)
		})
	}
}

// A read error of Stdin is not EOF. The command is stopped before it can take the partial input
// for the whole.
func TestSSHDStdinFails(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		for _, input := range []struct{ name, before string }{{"at once", ""}, {"half way", "half"}, {"late", strings.Repeat("x", 3<<20)}} {
			all.Run(account+" "+input.name, func(t *testing.T) {
				p := fleettest.NewFleet(t, stopServer(t, account))
				dir := t.TempDir()
				if err := os.Chmod(dir, 0o777); err != nil {
					t.Fatal(err)
				}
				whole := filepath.Join(dir, "whole")
				broken := errors.New("the disk is broken")
				cmd := fleetssh.Command{
					Line:  "cat >/dev/null && touch " + whole,
					Stdin: io.MultiReader(strings.NewReader(input.before), iotest.ErrReader(broken)),
				}
				for out := range finished(t, p, cmd) {
					e := fleettest.AsError[*fleetssh.SessionError](t, out.WaitFinished(fleettest.Soon(t)))
					fleettest.Equal(t, "phase", e.Phase, "stdin")
					fleettest.Equal(t, "cause is kept", errors.Is(e, broken), true)
					fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Lost})
					fleettest.Equal(t, "may have run", out.Outcome().MayHaveRun(), true)
				}
				if _, err := os.Stat(whole); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the command took the part for the whole (%v)", err)
				}
			})
		}
	}
}

// Unread input cannot fail a command that has ended.
func TestStdinFailsUnread(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, nil).Dial(t)
	in, out := io.Pipe()
	o, err := c.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "exit 4", Stdin: in})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, o.WaitFinished(fleettest.Soon(t))).Code, 4)
	out.CloseWithError(errors.New("too late"))
	fleettest.Equal(t, "outcome", o.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 4})
}

// One unreachable host does not change the input of the others, whichever method runs the
// command.
func TestStdinWithBadHost(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 3, func(i int, h *simfleet.Host) {
		if i == 1 {
			h.Fault.Kind = simfleet.ResetAccept
		}
	})
	p := fleettest.NewFleet(t, hosts...)
	check := func(way string, outs []*fleetssh.HostOutput) {
		for i, out := range outs {
			want := fleetssh.Exited
			if i == 1 {
				want = fleetssh.Unreachable
			}
			fleettest.Equal(t, fmt.Sprint(way, " ", i), out.Outcome().Kind, want)
		}
	}
	outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "wc -c", Stdin: strings.NewReader("12345")})
	fleettest.AsError[*fleetssh.HostsError](t, err)
	p.Join(fleettest.Soon(t), outs)
	check("RunCommand", outs)
	fleettest.Equal(t, "output", fleettest.Text(t, outs[0].Stdout)+fleettest.Text(t, outs[2].Stdout), "5\n5\n")
	outs = nil
	for out := range finished(t, p, fleetssh.Command{Line: "wc -c", Stdin: strings.NewReader("12345")}) {
		outs = append(outs, out)
	}
	fleettest.Equal(t, "hosts", len(outs), 3)
	for _, out := range outs {
		if out.Host.Host == hosts[1].Host {
			fleettest.Equal(t, "Stream, the bad host", out.Outcome().Kind, fleetssh.Unreachable)
		} else {
			fleettest.Equal(t, "Stream", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited})
		}
	}
}
