package fleetssh_test

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
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// A host that does not answer the request to start a command has started it if it sends output,
// or says how the command ended.
func TestStartWithoutReply(t *testing.T) {
	t.Parallel()
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
		{fleetssh.Command{Line: "echo on; sleep 1000", Timeout: time.Second}, fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true}, "on\n"},
	} {
		t.Run(test.command.Line, func(t *testing.T) {
			t.Parallel()
			p := newFleet(t, faulty(t, simfleet.NoStartReply).config())
			for out := range finished(t, p, test.command) {
				equal(t, "outcome", out.Outcome(), test.want)
				equal(t, "error", out.Err, nil)
			}
			if test.command.Stdin != nil {
				test.command.Stdin = strings.NewReader("eaten\n")
			}
			outs, err := p.RunCommand(soon(t), test.command)
			if err != nil {
				t.Fatal(err)
			}
			p.Join(soon(t), outs)
			equal(t, "outcome", outs[0].Outcome(), test.want)
			equal(t, "output", text(t, outs[0].Stdout)+text(t, outs[0].Stderr), test.output)
		})
	}
}

// What comes without an answer counts for as much as it says.
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
			host := hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
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
			p := newFleet(t, host)
			outs, err := p.RunCommand(soon(t), fleetssh.Command{Line: "anything"})
			if (err == nil) != (test.out != "") {
				t.Error(err)
			}
			p.Join(soon(t), outs)
			equal(t, "outcome", outs[0].Outcome(), test.want)
			equal(t, "output", text(t, outs[0].Stdout), test.out)
		})
	}
}

// What the program of a copy says is told, too.
func TestCopyWithoutReply(t *testing.T) {
	t.Parallel()
	host := hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
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
	c := dial(t, host)
	_, err := c.Upload(soon(t), "start_test.go", "there", &fleetssh.CopyOptions{Protocol: fleetssh.SCP})
	if err == nil || !strings.Contains(err.Error(), "command not found") {
		t.Error(err)
	}
}

// A command that has ended by itself has ended so, whoever gives it up because something that
// it has started holds its output open.
func TestSSHDStopAfterEnd(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	all := together{t: t}
	defer all.wg.Wait()
	exited := fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3}
	for _, way := range []struct {
		name string
		stop func(ctx context.Context, p *fleetssh.ParallelClient, out *fleetssh.HostOutput)
	}{
		{"Stop", func(ctx context.Context, _ *fleetssh.ParallelClient, out *fleetssh.HostOutput) {
			equal(t, "Stop", out.Stop(ctx), nil)
		}},
		{"Channel.Close", func(_ context.Context, _ *fleetssh.ParallelClient, out *fleetssh.HostOutput) { out.Channel.Close() }},
		{"ParallelClient.Close", func(_ context.Context, p *fleetssh.ParallelClient, _ *fleetssh.HostOutput) { p.Close() }},
	} {
		all.run(way.name, func(t *testing.T) {
			p := newFleet(t, host)
			marker := sshdtest.Marker()
			outs, err := p.RunCommand(soon(t), fleetssh.Command{Line: "sleep " + marker + " & echo started; exit 3"})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the status", func() bool { _, ok := outs[0].ExitCode(); return ok })
			equal(t, "finished", outs[0].Finished(), false)
			// The status may come before the output, which Close does not wait for.
			said := make([]byte, len("started\n"))
			if _, err := io.ReadFull(outs[0].Stdout, said); err != nil {
				t.Error(err)
			}
			equal(t, "output", string(said), "started\n")
			way.stop(soon(t), p, outs[0])
			equal(t, "code", asError[*fleetssh.ExitError](t, outs[0].WaitFinished(soon(t))).Code, 3)
			equal(t, "outcome", outs[0].Outcome(), exited)
			sshdtest.Kill(marker)
		})
	}
	for _, way := range []string{"Timeout", "cancelled Stream"} {
		all.run(way, func(t *testing.T) {
			p := newFleet(t, host)
			marker := sshdtest.Marker()
			cmd := fleetssh.Command{Line: "sleep " + marker + " & echo started; exit 3"}
			ctx, cancel := context.WithCancel(soon(t))
			defer cancel()
			if way == "Timeout" {
				cmd.Timeout = 2 * time.Second
			}
			events, err := p.Stream(ctx, cmd)
			if err != nil {
				t.Fatal(err)
			}
			for ev := range events {
				switch {
				case ev.Kind == fleetssh.StdoutLine && way != "Timeout":
					eventually(t, "the status", func() bool { _, ok := ev.Output.ExitCode(); return ok })
					cancel()
				case ev.Kind == fleetssh.Finished:
					equal(t, "outcome", ev.Output.Outcome(), exited)
				}
			}
			sshdtest.Kill(marker)
		})
	}
}

// An error of reading Stdin is not its end. The command is stopped before it can take the part
// that it has got for the whole.
func TestSSHDStdinFails(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := together{t: t}
	defer all.wg.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		for _, input := range []struct{ name, before string }{{"at once", ""}, {"half way", "half"}, {"late", strings.Repeat("x", 3<<20)}} {
			all.run(account+" "+input.name, func(t *testing.T) {
				p := newFleet(t, stopServer(t, account))
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
					e := asError[*fleetssh.SessionError](t, out.WaitFinished(soon(t)))
					equal(t, "Op", e.Op, "stdin")
					equal(t, "cause is kept", errors.Is(e, broken), true)
					equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Lost})
					equal(t, "may have run", out.Outcome().MayHaveRun(), true)
				}
				if _, err := os.Stat(whole); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the command took the part for the whole (%v)", err)
				}
			})
		}
	}
}

// What a command does not read cannot fail it, and one that has ended has ended.
func TestStdinFailsUnread(t *testing.T) {
	t.Parallel()
	c := newServer(t, nil).dial(t)
	in, out := io.Pipe()
	o, err := c.RunCommand(soon(t), fleetssh.Command{Line: "exit 4", Stdin: in})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "code", asError[*fleetssh.ExitError](t, o.WaitFinished(soon(t))).Code, 4)
	out.CloseWithError(errors.New("too late"))
	equal(t, "outcome", o.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 4})
}

// One host that cannot be reached changes nothing for the input of the others, in every way to
// run a command.
func TestStdinWithBadHost(t *testing.T) {
	t.Parallel()
	_, hosts := simulated(t, 3, func(i int, h *simfleet.Host) {
		if i == 1 {
			h.Fault.Kind = simfleet.ResetAccept
		}
	})
	p := newFleet(t, hosts...)
	check := func(way string, outs []*fleetssh.HostOutput) {
		for i, out := range outs {
			want := fleetssh.Exited
			if i == 1 {
				want = fleetssh.Unreachable
			}
			equal(t, fmt.Sprint(way, " ", i), out.Outcome().Kind, want)
		}
	}
	outs, err := p.RunCommand(soon(t), fleetssh.Command{Line: "wc -c", Stdin: strings.NewReader("12345")})
	asError[*fleetssh.HostsError](t, err)
	p.Join(soon(t), outs)
	check("RunCommand", outs)
	equal(t, "output", text(t, outs[0].Stdout)+text(t, outs[2].Stdout), "5\n5\n")
	outs = nil
	for out := range finished(t, p, fleetssh.Command{Line: "wc -c", Stdin: strings.NewReader("12345")}) {
		outs = append(outs, out)
	}
	equal(t, "hosts", len(outs), 3)
	for _, out := range outs {
		if out.Host.Host == hosts[1].Host {
			equal(t, "Stream, the bad host", out.Outcome().Kind, fleetssh.Unreachable)
		} else {
			equal(t, "Stream", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited})
		}
	}
}
