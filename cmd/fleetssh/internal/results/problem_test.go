package results

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

func TestProblemKinds(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, tt := range []struct {
		err                 error
		kind, phase, reason string
		tries               int
	}{
		{nil, "", "", "", 0},
		{&fleetssh.UnknownHostError{Host: "a", Attempts: 1, Err: &net.DNSError{Err: "no such host", Name: "a"}}, "unknown_host", "resolve", "no such host", 1},
		{&fleetssh.ConnectionError{Host: "a", Phase: "connect", Attempts: 3, Err: refused}, "connection", "connect", "connection refused (3 attempts)", 3},
		{&fleetssh.HostKeyError{Host: "a", Err: errors.New("odd")}, "host_key", "host_key", "odd", 1},
		{&fleetssh.AuthenticationError{Host: "a", User: "ann", Tried: []string{"publickey"}}, "authentication", "auth", "login as ann refused (tried publickey)", 1},
		{&fleetssh.ProxyError{Host: "a", Hop: "gate", Err: &fleetssh.ConnectionError{Host: "gate", Phase: "connect", Err: refused}}, "proxy", "proxy", "at the hop gate: connection refused", 0},
		{&fleetssh.TimeoutError{Host: "a", Phase: "handshake", After: 1003 * time.Millisecond, Attempts: 2}, "timeout", "handshake", "no answer within 1s (2 attempts)", 2},
		{&fleetssh.TimeoutError{Host: "a", Phase: "run", After: 2 * time.Minute}, "timeout", "run", "after 2m", 1},
		{&fleetssh.PKeyFileError{Host: "a", Path: "k", Err: &os.PathError{Op: "open", Path: "k", Err: syscall.ENOENT}}, "pkey_file", "auth", "k: no such file or directory", 0},
		{&fleetssh.SessionError{Host: "a", Phase: "exec", Err: errors.New("refused")}, "session", "exec", "refused", 1},
		{&fleetssh.CopyError{Host: "a", Op: "write", Path: "/x", Err: os.ErrPermission}, "copy", "write", "cannot write /x: permission denied", 1},
		{&fleetssh.CopyError{Host: "a", Op: "read", Path: "x", Local: true, Err: &os.PathError{Op: "read", Path: "x", Err: syscall.EIO}}, "copy", "read", "cannot read local x: input/output error", 1},
		{&fleetssh.HostArgumentError{Index: 1, Reason: "too few"}, "host_argument", "", "too few", 0},
	} {
		p := ProblemOf(tt.err, &fleetssh.HostConfig{Host: "a"})
		if p.Kind != tt.kind || p.Phase != tt.phase || p.Reason != tt.reason || p.Tries != tt.tries {
			t.Errorf("%v: %+v, want %s, %s, %q, %d", tt.err, p, tt.kind, tt.phase, tt.reason, tt.tries)
		}
	}
}

func TestShowFailures(t *testing.T) {
	t.Parallel()
	hosts, err := (&selection.ExprFlags{Exprs: []string{"web[01-20]"}}).Select(fleetssh.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	counted := New(hosts)
	hostile := errors.New("\x1b[2Jboo")
	for i := range hosts {
		r := Result{Index: len(hosts) - 1 - i, Outcome: fleetssh.Outcome{Kind: fleetssh.Exited}}
		switch i {
		case 0, 1, 2:
			r.Outcome.ExitCode = 1
		case 3:
			r.Outcome = fleetssh.Outcome{Kind: fleetssh.Unreachable, Phase: "connect"}
			r.Problem = ProblemOf(&fleetssh.ConnectionError{Host: "x", Phase: "connect", Err: hostile}, &hosts[i].Config)
		case 4, 5:
			r.Outcome.Kind = fleetssh.Skipped
		case 6:
			r.Outcome = fleetssh.Outcome{Kind: fleetssh.TimedOut}
		}
		r.OK = i > 6
		counted.AddResult(r)
	}
	var shown bytes.Buffer
	screen := termline.New(io.Discard, &shown)
	counted.ShowFailures(screen)
	screen.Close()
	const want = `fleetssh: 5 of 20 hosts failed, 2 skipped
  timed out, may still run: web14
  skipped: web[15-16]
  unreachable (connect): web17: ^[[2Jboo
  exit code 1: web[18-20]
`
	if shown.String() != want {
		t.Errorf("shown:\n%swant:\n%s", shown.String(), want)
	}
	// Colours guide the eye to what failed, and on which hosts.
	shown.Reset()
	screen = termline.New(io.Discard, &shown)
	screen.SetColors(termline.ColorsAlways)
	counted.ShowFailures(screen)
	screen.Close()
	const colored = "\x1b[1;31mfleetssh: 5 of 20 hosts failed, 2 skipped\x1b[0m\n" +
		"  \x1b[31mtimed out, may still run\x1b[0m: \x1b[1mweb14\x1b[0m\n" +
		"  skipped: \x1b[1mweb[15-16]\x1b[0m\n" +
		"  \x1b[31munreachable (connect)\x1b[0m: \x1b[1mweb17\x1b[0m: ^[[2Jboo\n"
	if !strings.HasPrefix(shown.String(), colored) {
		t.Errorf("in colour: %q, want %q", shown.String(), colored)
	}
}
