package console

import (
	"context"
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

// Consoles work on the simulated shell. If the host refuses signals, a second session sends them.
func TestConsole(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		s := openConsole(t, fleettest.NewServer(t, func(h *simfleet.Host) { h.RefuseSignals = refuse }).Dial(t))
		for _, test := range []struct {
			line string
			want lineResult
		}{
			{"cd /srv; X=5", lineResult{}},
			{"pwd; echo $X; stderr e; false", lineResult{stdout: "/srv\n5\n", stderr: "e\n", code: 1}},
			{"echo $?", lineResult{stdout: "1\n"}},
			{"printf a", lineResult{stdout: "a"}},
			{"echo one\necho 'two\nthree'", lineResult{stdout: "one\ntwo\nthree\n"}},
			{"echo 'a", lineResult{stderr: "sh: 1: Syntax error: Unterminated quoted string\n", code: 2}},
		} {
			fleettest.Equal(t, test.line, runText(t, s, test.line), test.want)
		}
		out := startLine(t, s, "echo begun; sleep 1000; echo after")
		readLine(t, out, "begun")
		fleettest.Equal(t, "signal", out.Signal(fleettest.Soon(t), ssh.SIGINT), nil)
		fleettest.Equal(t, "interrupted line", resultOf(t, out), lineResult{code: 130})
		fleettest.Equal(t, "after", runText(t, s, "echo $X"), lineResult{stdout: "5\n"})
	}
}

// A console on a host that never answers, or disconnects, ends with an error in time.
func TestConsoleErrors(t *testing.T) {
	t.Parallel()
	for _, kind := range []simfleet.FaultKind{simfleet.StallExec, simfleet.RefuseExec, simfleet.StallAfterStart} {
		config := fleettest.Faulty(t, kind).Config()
		config.ConnectTimeout = time.Second
		p := fleettest.NewFleet(t, config)
		consoles, err := p.OpenConsoles(fleettest.Soon(t))
		failed := fleettest.AsError[*fleetssh.HostsError](t, err)
		fleettest.Equal(t, "failed", len(failed.Failed), 1)
		fleettest.Equal(t, "error", consoles[0].Err, failed.Failed[0].Err)
		fleettest.Equal(t, "closed", consoles[0].Close(fleettest.Soon(t)) != nil, true)
		p.Close()
	}
	s := fleettest.NewServer(t, nil)
	c := s.Dial(t)
	console := openConsoleToLose(t, c)
	out := startLine(t, console, "echo begun; sleep 1000")
	readLine(t, out, "begun")
	s.Server.Close()
	out.WaitFinished(fleettest.Soon(t))
	fleettest.Equal(t, "outcome", out.Outcome().Kind, fleetssh.Lost)
	fleettest.AsError[*fleetssh.ConnectionError](t, out.WaitFinished(fleettest.Soon(t)))
	fleettest.Equal(t, "finished", console.Finished(), true)
	_, err := console.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "true"})
	fleettest.AsError[*fleetssh.ConnectionError](t, err)
}

// openConsoleToLose opens a console whose Close may fail.
func openConsoleToLose(t *testing.T, c *fleetssh.Client) *fleetssh.Console {
	t.Helper()
	s, err := c.OpenConsole(fleettest.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(fleettest.Soon(t)) }) // its error does not matter: the connection is lost
	return s
}

// A console runs one line at a time, and the context limits the wait for a line.
func TestConsoleOneLineAtATime(t *testing.T) {
	t.Parallel()
	s := openConsole(t, fleettest.NewServer(t, nil).Dial(t))
	out := startLine(t, s, "sleep 1000")
	_, err := s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "true"})
	fleettest.AsError[*fleetssh.SessionError](t, err)
	_, err = s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "a\x00b"})
	fleettest.AsError[*fleetssh.ConfigError](t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	fleettest.AsError[*fleetssh.TimeoutError](t, out.WaitFinished(ctx))
	fleettest.Equal(t, "stop", out.Stop(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
	fleettest.Equal(t, "after", runText(t, s, "echo a"), lineResult{stdout: "a\n"})
}

// StreamLines runs a line on all hosts at once. When its context ends, it stops the lines, and the
// shells that react run the next line.
func TestStreamLines(t *testing.T) {
	t.Parallel()
	const n = 50
	fleet := make([]fleetssh.HostConfig, n)
	for i := range fleet {
		fleet[i] = fleettest.NewServer(t, nil).Config()
	}
	p := fleettest.NewFleet(t, fleet...)
	consoles, err := p.OpenConsoles(fleettest.Soon(t))
	fleettest.Equal(t, "open", err, nil)
	for range 3 {
		output := make(map[int]string)
		for ev := range fleetssh.StreamLines(fleettest.Soon(t), consoles, func(i int) fleetssh.ConsoleLine {
			return fleetssh.ConsoleLine{Text: fmt.Sprintf("printf 'a\\nb%d'; exit_not 2>/dev/null", i)}
		}) {
			switch ev.Kind {
			case fleetssh.StdoutLine:
				output[ev.Index] += ev.Text + ","
			case fleetssh.Finished:
				fleettest.Equal(t, "lines", output[ev.Index], fmt.Sprintf("a,b%d,", ev.Index))
				fleettest.Equal(t, "code", ev.Output.Outcome().ExitCode, 127)
			}
		}
		fleettest.Equal(t, "hosts", len(output), n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun, ended := 0, 0
	for ev := range fleetssh.StreamLines(ctx, consoles, func(int) fleetssh.ConsoleLine { return fleetssh.ConsoleLine{Text: "echo a; sleep 1000"} }) {
		switch ev.Kind {
		case fleetssh.StdoutLine:
			if begun++; begun == n {
				cancel()
			}
		case fleetssh.Finished:
			ended++
			fleettest.Equal(t, "outcome", ev.Output.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
		}
	}
	fleettest.Equal(t, "ended", ended, n)
	for _, c := range consoles {
		fleettest.Equal(t, "after", runText(t, c, "echo a"), lineResult{stdout: "a\n"})
	}
	for _, c := range consoles {
		fleettest.Equal(t, "close", c.Close(fleettest.Soon(t)), nil)
	}
}

// A host that sends text like a sentinel, sentinels in pieces and false reports about lines cannot
// confuse a console.
func TestConsoleHostile(t *testing.T) {
	t.Parallel()
	s := openConsoleToLose(t, fleettest.NewServer(t, func(h *simfleet.Host) {
		h.Handler = func(s *simfleet.Session) simfleet.Status {
			token := tokenOf(s)
			slowly := func(w io.Writer, text string) {
				for i := range len(text) {
					io.WriteString(w, text[i:i+1])
				}
			}
			slowly(s.Stdout, "greeting"+token+"=0:-1>"+token+"=0:7>")
			slowly(s.Stderr, token+"=0:7>"+token+"<0:0:0>")
			slowly(s.Stdout, token+"(99>"+token+"=77:0>a"+token+"=1:\x1b[31m"+token+token[:20]+"\n"+token+"=1:3>behind")
			slowly(s.Stderr, token+"<1:1:5>"+token+"=1:99999999999999999999>"+token+"<1:0:5>"+token+"<1:0:5>"+token+"=1:4>")
			io.Copy(io.Discard, s.Stdin)
			return simfleet.Status{Code: 9}
		}
	}).Dial(t))
	out := startLine(t, s, "anything")
	out.WaitFinished(fleettest.Soon(t))
	fleettest.Equal(t, "outcome", out.Outcome().Kind, fleetssh.Exited)
	stdout := fleettest.Text(t, out.Stdout)
	if !strings.Contains(stdout, "a") || strings.Contains(stdout, "greeting") || strings.Contains(stdout, "behind") {
		t.Errorf("%q", stdout)
	}
}

// tokenOf reads the token from the set-up text of the shell.
func tokenOf(s *simfleet.Session) string {
	var setUp []byte
	for b := make([]byte, 1); !strings.Contains(string(setUp), "$$"); {
		if n, err := s.Stdin.Read(b); err != nil {
			return "none"
		} else {
			setUp = append(setUp, b[:n]...)
		}
	}
	half := func(name string) string {
		_, rest, _ := strings.Cut(string(setUp), name+"=")
		return rest[:26]
	}
	return half("fleetssh_a") + half("fleetssh_b")
}

// A console also works on restricted login shells such as rbash, which refuse exec.
func TestConsoleRestricted(t *testing.T) {
	t.Parallel()
	refused := 0
	s := openConsole(t, fleettest.NewServer(t, func(h *simfleet.Host) {
		h.Handler = func(s *simfleet.Session) simfleet.Status {
			if strings.HasPrefix(s.Line, "exec ") {
				refused++
				io.WriteString(s.Stderr, "rbash: line 1: exec: restricted\n")
				return simfleet.Status{Code: 1}
			}
			return simfleet.Shell(s)
		}
	}).Dial(t))
	fleettest.Equal(t, "result", runText(t, s, "cd /srv; pwd"), lineResult{stdout: "/srv\n"})
	fleettest.Equal(t, "refused", refused, 1)

	// A host without a shell reports the reason once.
	failed, err := fleettest.NewServer(t, func(h *simfleet.Host) {
		h.Handler = func(s *simfleet.Session) simfleet.Status {
			io.WriteString(s.Stderr, "This account is not available.\n")
			return simfleet.Status{Code: 1}
		}
	}).Dial(t).OpenConsole(fleettest.Soon(t))
	fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.SessionError](t, err).Phase, "shell")
	if failed != nil {
		t.Error("a console was opened")
	}
	if !strings.Contains(err.Error(), "This account is not available.") {
		t.Errorf("%v", err)
	}
}
