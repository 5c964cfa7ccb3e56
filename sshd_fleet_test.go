package fleetssh_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// fleetOf starts a server on 16 addresses and returns so many hosts there.
func fleetOf(t testing.TB, n int) (*sshdtest.Server, []fleetssh.HostConfig) {
	t.Helper()
	var addresses []string
	for i := range 16 { // as many as sshd takes
		addresses = append(addresses, fmt.Sprintf("127.0.0.%d", i+1))
	}
	s, host := startServer(t, sshdtest.Options{Addresses: addresses})
	host.HostKeys = trust(t, knownLines(fmt.Sprintf("[127.0.0.*]:%d", s.Port), keysOf(s)...)...)
	host.ConnectTimeout = time.Minute
	var hosts []fleetssh.HostConfig
	for i := range n {
		host.Host = addresses[i%len(addresses)]
		hosts = append(hosts, host)
	}
	return s, hosts
}

func TestSSHDFleet(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	const n = 200
	s, hosts := fleetOf(t, n)
	p := &fleetssh.ParallelClient{Hosts: hosts}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := p.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	s.Logged(t, n, "Connection from")

	t.Run("run and join", func(t *testing.T) {
		var args []fleetssh.Args
		for i := range n {
			args = append(args, fleetssh.Args{List: []string{fmt.Sprintf("it's %d", i), fmt.Sprint(i % 3)}})
		}
		outs, err := p.RunCommand(ctx, fleetssh.Command{Line: "echo %q; set -- $SSH_CONNECTION; echo $3; exit %s", HostArgs: args})
		if err != nil {
			t.Fatal(err)
		}
		failed := asError[*fleetssh.HostsError](t, p.Join(ctx, nil))
		equal(t, "total", failed.Total, n)
		equal(t, "failed", len(failed.Failed), n-(n+2)/3)
		equal(t, "finished", p.Finished(nil), true)
		for i, out := range outs {
			equal(t, "output", text(t, out.Stdout), fmt.Sprintf("it's %d\n%s\n", i, hosts[i].Host))
			equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: i % 3})
			if timing := out.Timing(); timing.Handshake == 0 || timing.Auth == 0 || timing.Run == 0 || timing.Attempts != 1 {
				t.Errorf("timing %+v", timing)
			}
		}
	})
	t.Run("stream", func(t *testing.T) {
		events, err := p.Stream(ctx, fleetssh.Command{Line: "seq 50; echo err >&2", PTY: nil})
		if err != nil {
			t.Fatal(err)
		}
		var lines, errs, started, finished int
		next := make([]int, n)
		for e := range events {
			switch e.Kind {
			case fleetssh.Started:
				started++
			case fleetssh.StdoutLine:
				lines++
				next[e.Host]++
				equal(t, "line", e.Text, fmt.Sprint(next[e.Host]))
			case fleetssh.StderrLine:
				errs++
			case fleetssh.Finished:
				finished++
				equal(t, "lines before the end", next[e.Host], 50)
			}
		}
		equal(t, "events", fmt.Sprint(started, lines, errs, finished), fmt.Sprint(n, 50*n, n, n))
	})
	t.Run("input for all", func(t *testing.T) {
		input := strings.Repeat("0123456789abcde\n", 1<<12)
		outs, err := p.RunCommand(ctx, fleetssh.Command{Line: "wc -c", Stdin: strings.NewReader(input)})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Join(ctx, outs); err != nil {
			t.Fatal(err)
		}
		for _, out := range outs {
			equal(t, "size", strings.TrimSpace(text(t, out.Stdout)), fmt.Sprint(len(input)))
		}
	})
	s.Logged(t, n, "Connection from") // one for each entry, and no more
}

// Every host has its own outcome, and no bad one delays a good one.
func TestSSHDFleetMixed(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, hosts := fleetOf(t, 8)
	stopped, stoppedHost := startServer(t, sshdtest.Options{})
	stopped.Pause()
	defer stopped.Resume()
	stoppedHost.ConnectTimeout, stoppedHost.Attempts = time.Second, 1
	hosts[1] = stoppedHost
	hosts[2].Auth = fleetssh.Auth{Signers: hosts[2].Auth.Signers[:0:0], NoAgent: true, NoDefaultKeys: true, Password: "wrong"}
	hosts[3].HostKeys = trust(t, knownLines(fmt.Sprintf("[127.0.0.*]:%d", s.Port), sshdtest.NewKey(t, sshdtest.KindED25519).Public())...)
	hosts[4].Auth = fleetssh.Auth{KeyFile: "/no/such/key"}
	hosts[5].Host, hosts[5].Attempts = "127.0.0.99", 2
	hosts[6].Host = "no-such-host.invalid"
	p := &fleetssh.ParallelClient{Hosts: hosts}
	defer p.Close()
	begun := time.Now()
	outs, err := p.RunCommand(soon(t), fleetssh.Command{Line: "echo here; kill -KILL $$"})
	failed := asError[*fleetssh.HostsError](t, err)
	equal(t, "failed", len(failed.Failed), 6)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if err := p.Join(soon(t), outs); err == nil {
		t.Error("Join says that all is well")
	}
	dead := fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: "KILL"}
	unreachable := func(phase string) fleetssh.Outcome {
		return fleetssh.Outcome{Kind: fleetssh.Unreachable, Phase: phase}
	}
	for i, want := range []fleetssh.Outcome{
		dead, unreachable("handshake"), unreachable("auth"), unreachable("host_key"),
		{Kind: fleetssh.NotStarted, Phase: "auth"}, unreachable("connect"), unreachable("resolve"), dead,
	} {
		equal(t, fmt.Sprint("outcome of ", i, ": ", outs[i].Err), outs[i].Outcome(), want)
		equal(t, "may have run", outs[i].Outcome().MayHaveRun(), want == dead)
		if want == dead {
			equal(t, "output", text(t, outs[i].Stdout), "here\n")
		}
	}
	for i, as := range []func(error) bool{
		1: is[*fleetssh.TimeoutError], 2: is[*fleetssh.AuthenticationError], 3: is[*fleetssh.HostKeyError],
		4: is[*fleetssh.PKeyFileError], 5: is[*fleetssh.ConnectionError], 6: is[*fleetssh.UnknownHostError],
	} {
		if as != nil && !as(outs[i].Err) {
			t.Errorf("host %d: %T: %v", i, outs[i].Err, outs[i].Err)
		}
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
