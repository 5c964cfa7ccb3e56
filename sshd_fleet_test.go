package fleetssh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

func TestSSHDFleet(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	const n = 200
	s, hosts := fleettest.SSHDFleet(t, n)
	p := &fleetssh.ParallelClient{Hosts: hosts}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*fleettest.Patience)
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
		failed := fleettest.AsError[*fleetssh.HostsError](t, p.Join(ctx, nil))
		fleettest.Equal(t, "total", failed.Total, n)
		fleettest.Equal(t, "failed", len(failed.Failed), n-(n+2)/3)
		fleettest.Equal(t, "finished", p.Finished(nil), true)
		for i, out := range outs {
			fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), fmt.Sprintf("it's %d\n%s\n", i, hosts[i].Host))
			fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: i % 3})
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
				next[e.Index]++
				fleettest.Equal(t, "line", e.Text, fmt.Sprint(next[e.Index]))
			case fleetssh.StderrLine:
				errs++
			case fleetssh.Finished:
				finished++
				fleettest.Equal(t, "lines before the end", next[e.Index], 50)
			}
		}
		fleettest.Equal(t, "events", fmt.Sprint(started, lines, errs, finished), fmt.Sprint(n, 50*n, n, n))
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
			fleettest.Equal(t, "size", strings.TrimSpace(fleettest.Text(t, out.Stdout)), fmt.Sprint(len(input)))
		}
	})
	s.Logged(t, n, "Connection from") // one connection for each host, and no more
}

// Each host fails in its own way, and has its own outcome.
func TestSSHDFleetMixed(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, hosts := fleettest.SSHDFleet(t, 8)
	stopped, stoppedHost := fleettest.StartSSHD(t, sshdtest.Options{})
	stopped.Pause()
	defer stopped.Resume()
	stoppedHost.Attempts = 1
	stoppedHost.ConnectTimeout = 10 * time.Second // the kernel accepts long before that, even on a busy machine
	hosts[1] = stoppedHost
	hosts[2].Auth = fleetssh.Auth{Signers: hosts[2].Auth.Signers[:0:0], NoAgent: true, NoDefaultKeys: true, Password: "wrong"}
	hosts[3].HostKeys = fleettest.Trust(t, fleettest.KnownLines(fmt.Sprintf("[127.0.0.*]:%d", s.Port), sshdtest.NewKey(t, sshdtest.KindED25519).Public())...)
	hosts[4].Auth = fleetssh.Auth{KeyFile: "/no/such/key"}
	hosts[5].Host, hosts[5].Attempts = "127.0.0.99", 2
	hosts[6].Host = "no-such-host.invalid"
	p := &fleetssh.ParallelClient{Hosts: hosts}
	defer p.Close()
	outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo here; kill -KILL $$"})
	failed := fleettest.AsError[*fleetssh.HostsError](t, err)
	fleettest.Equal(t, "failed", len(failed.Failed), 6)
	if err := p.Join(fleettest.Soon(t), outs); err == nil {
		t.Error("Join reports success")
	}
	dead := fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: "KILL"}
	unreachable := func(phase fleetssh.Phase) fleetssh.Outcome {
		return fleetssh.Outcome{Kind: fleetssh.Unreachable, Phase: phase}
	}
	for i, want := range []fleetssh.Outcome{
		dead, unreachable("handshake"), unreachable("auth"), unreachable("host_key"),
		{Kind: fleetssh.NotStarted, Phase: "auth"}, unreachable("connect"), unreachable("resolve"), dead,
	} {
		fleettest.Equal(t, fmt.Sprint("outcome of ", i, ": ", outs[i].Err), outs[i].Outcome(), want)
		fleettest.Equal(t, "may have run", outs[i].Outcome().MayHaveRun(), want == dead)
		if want == dead {
			fleettest.Equal(t, "output", fleettest.Text(t, outs[i].Stdout), "here\n")
		}
	}
	for i, as := range []func(error) bool{
		1: fleettest.Is[*fleetssh.TimeoutError], 2: fleettest.Is[*fleetssh.AuthenticationError], 3: fleettest.Is[*fleetssh.HostKeyError],
		4: fleettest.Is[*fleetssh.PKeyFileError], 5: fleettest.Is[*fleetssh.ConnectionError], 6: fleettest.Is[*fleetssh.UnknownHostError],
	} {
		if as != nil && !as(outs[i].Err) {
			t.Errorf("host %d: %T: %v", i, outs[i].Err, outs[i].Err)
		}
	}
}

// A host that hangs does not delay the others: it is resumed only after all others have finished.
func TestSSHDFleetHangingHost(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, hosts := fleettest.SSHDFleet(t, 8)
	stopped, stoppedHost := fleettest.StartSSHD(t, sshdtest.Options{})
	stopped.Pause()
	defer stopped.Resume()
	hosts[1] = stoppedHost
	p := &fleetssh.ParallelClient{Hosts: hosts}
	defer p.Close()
	events, err := p.Stream(fleettest.Soon(t), fleetssh.Command{Line: "exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	finished := 0
	for e := range events {
		if e.Kind != fleetssh.Finished {
			continue
		}
		fleettest.Equal(t, fmt.Sprint("outcome of ", e.Index), e.Output.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3})
		if finished++; finished == len(hosts)-1 {
			stopped.Resume()
		}
	}
	fleettest.Equal(t, "finished", finished, len(hosts))
}
