package fleetssh_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

func TestRunCommandInHostOrder(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 30, nil)
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 7
	args := make([]fleetssh.Args, len(hosts))
	for i := range args {
		args[i] = fleetssh.Args{Map: map[string]string{"n": fmt.Sprint(i)}}
	}
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo host %(n)s; exit %(n)s", HostArgs: args})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Join(t.Context(), nil)
	failed, ok := errors.AsType[*fleetssh.HostsError](err)
	if !ok || len(failed.Failed) != 29 || failed.Total != 30 || len(failed.Unfinished()) != 0 {
		t.Fatalf("Join: %v", err)
	}
	if exit, ok := errors.AsType[*fleetssh.ExitError](failed.Failed[4].Err); !ok || exit.Code != 5 || failed.Failed[4].Index != 5 {
		t.Errorf("host 5: %v", failed.Failed[4])
	}
	if !p.Finished(nil) || !slices.Equal(p.LastOutput(), outs) {
		t.Error("LastOutput or Finished is wrong")
	}
	for i, out := range outs {
		if got := fleettest.Text(t, out.Stdout); got != fmt.Sprintf("host %d\n", i) || out.CommandLine != fmt.Sprintf("echo host %d; exit %d", i, i) {
			t.Errorf("host %d: %q from %q", i, got, out.CommandLine)
		}
		if code, ok := out.ExitCode(); !ok || code != i {
			t.Errorf("host %d: exit code %d, %v", i, code, ok)
		}
		if tm := out.Timing(); tm.Connect == 0 || tm.Handshake == 0 || tm.Auth == 0 || tm.Start == 0 || tm.Run == 0 || tm.Attempts != 1 {
			t.Errorf("host %d: timing %+v", i, tm)
		}
	}
}

func TestEmptyFleet(t *testing.T) {
	t.Parallel()
	p := fleettest.NewFleet(t)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	if len(outs) != 0 || err != nil || p.Join(t.Context(), outs) != nil || p.Connect(t.Context()) != nil {
		t.Errorf("%v, %v", outs, err)
	}
	events, err := p.Stream(t.Context(), fleetssh.Command{Line: "true"})
	if err != nil {
		t.Fatal(err)
	}
	for ev := range events {
		t.Errorf("%v", ev)
	}
}

func TestDuplicateHosts(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, nil)
	p := fleettest.NewFleet(t, s.Config(), s.Config(), s.Config())
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo $$"})
	if err != nil || len(outs) != 3 {
		t.Fatal(err)
	}
	if n := s.Stats().Logins; n != 3 {
		t.Errorf("%d connections for three entries", n)
	}
}

func TestJoinTimeout(t *testing.T) {
	t.Parallel()
	hosts := []fleetssh.HostConfig{fleettest.NewServer(t, nil).Config(), fleettest.NewServer(t, nil).Config(), {Host: "no-such-host.invalid", Attempts: 1}}
	p := fleettest.NewFleet(t, hosts...)
	args := []fleetssh.Args{{List: []string{"0"}}, {List: []string{"1000"}}, {List: []string{"0"}}}
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "sleep %s", HostArgs: args})
	if _, ok := errors.AsType[*fleetssh.UnknownHostError](err); !ok || len(outs) != 3 {
		t.Fatalf("%v", err)
	}
	if err := outs[0].WaitFinished(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = p.Join(ctx, outs)
	failed, ok := errors.AsType[*fleetssh.HostsError](err)
	if !ok || !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(failed.Unfinished(), []int{1}) || len(failed.Failed) != 2 {
		t.Fatalf("%v", err)
	}
	if p.Finished(outs) || outs[1].Finished() {
		t.Error("a sleeping command has finished")
	}
	if err := outs[1].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := outs[1].Outcome(); o.Kind != fleetssh.Cancelled || !o.Stopped {
		t.Errorf("%+v", o)
	}
	if !p.Finished(nil) {
		t.Error("not finished after Stop")
	}
}

func TestStopOnError(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 20, nil)
	hosts[2].Port = fleettest.ClosedPort(t)
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize, p.StopOnError = 1, true
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	if len(outs) != 20 || err == nil {
		t.Fatal(err)
	}
	p.Join(t.Context(), outs)
	count := make(map[fleetssh.OutcomeKind]int)
	for _, out := range outs {
		count[out.Outcome().Kind]++
	}
	if count[fleetssh.Exited] != 2 || count[fleetssh.Unreachable] != 1 || count[fleetssh.Skipped] != 17 {
		t.Errorf("%v", count)
	}
}

func TestMaxFailures(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 20, nil)
	for _, i := range []int{2, 5, 7} {
		hosts[i].Port = fleettest.ClosedPort(t)
	}
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize, p.StopOnError, p.MaxFailures = 1, true, 2
	failed := fleettest.AsError[*fleetssh.HostsError](t, p.Connect(t.Context()))
	if len(failed.Failed) != 3+12 { // three failed, and the 12 hosts after the third were skipped
		t.Errorf("%d failed: %v", len(failed.Failed), failed)
	}
	p = fleettest.NewFleet(t, hosts...)
	p.MaxFailures = -1
	if e := fleettest.AsError[*fleetssh.ConfigError](t, p.Connect(t.Context())); e.Field != "ParallelClient.MaxFailures" {
		t.Error(e)
	}
}

func TestSetHosts(t *testing.T) {
	t.Parallel()
	a, b, c := fleettest.NewServer(t, nil), fleettest.NewServer(t, nil), fleettest.NewServer(t, nil)
	hostA, hostB, hostC := a.Config(), b.Config(), c.Config()
	p := fleettest.NewFleet(t, hostA, hostB)
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, "the host to count the login", func() bool { return a.Stats().Logins == 1 })
	p.SetHosts([]fleetssh.HostConfig{hostC, hostA})
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := a.Stats().Logins; n != 1 {
		t.Errorf("%d logins on the host that stayed", n)
	}
	fleettest.Eventually(t, "the unused connection to end", func() bool { return b.Stats().Open == 0 })
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	if err != nil || outs[0].Host.Port != c.Port() || outs[1].Host.Port != a.Port() {
		t.Errorf("order: %v", err)
	}
	if client, err := p.Client(t.Context(), 1); err != nil || client.Host().Port != a.Port() {
		t.Errorf("Client(1): %v", err)
	}
	if _, err := p.Client(t.Context(), 2); err == nil {
		t.Error("Client(2) of a fleet of two hosts succeeds")
	}
}

func TestOneShot(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, nil)
	p := fleettest.NewFleet(t, s.Config())
	p.OneShot = true
	for range 2 {
		outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo x"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Join(t.Context(), outs); err != nil {
			t.Error(err)
		}
		fleettest.Eventually(t, "the connection to end", func() bool { return s.Stats().Open == 0 })
		if got := fleettest.Text(t, outs[0].Stdout); got != "x\n" {
			t.Errorf("output after the connection has ended: %q", got)
		}
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	p := fleettest.NewFleet(t, fleettest.NewServer(t, nil).Config())
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo x; sleep 60"})
	if err != nil {
		t.Fatal(err)
	}
	for line := range outs[0].Stdout.Lines(t.Context()) {
		if line == "x" {
			break
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if o := outs[0].Outcome(); o.Kind != fleetssh.Lost {
		t.Errorf("%v", o)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"}); err == nil {
		t.Error("a closed client runs commands")
	}
}

// TestStreamLeft leaves the loop in each possible way. Afterwards no goroutine and no remote
// command may be left.
func TestStreamLeft(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"break", "panic", "cancel"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			fleet, hosts := fleettest.Simulated(t, 12, nil)
			p := fleettest.NewFleet(t, hosts...)
			p.PoolSize = 4
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			events, err := p.Stream(ctx, fleetssh.Command{Line: "lines 1000; sleep 1000"})
			if err != nil {
				t.Fatal(err)
			}
			outcomes := make(map[fleetssh.OutcomeKind]int)
			running := 0 // a host that has not answered yet when the loop is left may get no signal
			func() {
				defer func() {
					if r := recover(); (r != nil) != (way == "panic") {
						t.Errorf("recovered %v", r)
					}
				}()
				for ev := range events {
					if ev.Kind == fleetssh.Started {
						running++
					}
					switch {
					case running < 4:
					case ev.Kind == fleetssh.Finished:
						outcomes[ev.Output.Outcome().Kind]++
						if !ev.Output.Finished() {
							t.Error("the output of a Finished event is not finished")
						}
					case way == "cancel":
						cancel()
					case way == "panic":
						panic("on purpose")
					case way == "break":
						return
					}
				}
			}()
			if way == "cancel" && (outcomes[fleetssh.Cancelled] == 0 || outcomes[fleetssh.Skipped] < 8 || outcomes[fleetssh.Cancelled]+outcomes[fleetssh.Skipped] != 12) {
				t.Errorf("outcomes %v do not add up to 12 hosts", outcomes)
			}
			started := 0
			for _, s := range fleet.Servers {
				started += s.Stats().Started
			}
			if started > 4 {
				t.Errorf("%d hosts were started, PoolSize is 4", started)
			}
			fleettest.Eventually(t, "the commands to be ended", func() bool {
				ended := 0
				for _, s := range fleet.Servers {
					ended += len(s.Stats().Signals)
				}
				return ended >= started
			})
		})
	}
}

func TestStreamEvents(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 10, nil)
	p := fleettest.NewFleet(t, hosts...)
	events, err := p.Stream(t.Context(), fleetssh.Command{Line: "echo a; stderr b; printf 'c\\nd'"})
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]string, len(hosts))
	for ev := range events {
		seen[ev.Index] += ev.Kind.String() + ":" + ev.Text + " "
		if ev.Time.IsZero() || ev.Output.Host.Host != hosts[ev.Index].Host {
			t.Errorf("%+v", ev)
		}
	}
	for i, s := range seen {
		if !strings.HasPrefix(s, "start: ") || !strings.HasSuffix(s, "result: ") || !strings.Contains(s, "stderr:b ") ||
			strings.ReplaceAll(s, "stderr:b ", "") != "start: stdout:a stdout:c stdout:d result: " {
			t.Errorf("host %d: %s", i, s)
		}
	}
}

// TestOutputWithinBudget has many hosts write much more than the budget while nothing is read, and
// checks that no byte is lost.
func TestOutputWithinBudget(t *testing.T) {
	t.Parallel()
	const n, size, budget = 60, 2 << 20, 1 << 20
	_, hosts := fleettest.Simulated(t, n, nil)
	p := fleettest.NewFleet(t, hosts...)
	p.OutputMemory = budget
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: fmt.Sprintf("bytes %d", size)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Join(t.Context(), outs); err != nil {
		t.Fatal(err)
	}
	p.Close() // the output stays readable
	var want [32]byte
	for i, out := range outs {
		sum := sha256.New()
		got, err := io.Copy(sum, out.Stdout)
		if err != nil || got != size || out.Stdout.Truncated() {
			t.Fatalf("host %d: %d bytes, %v", i, got, err)
		}
		if i == 0 {
			sum.Sum(want[:0])
		} else if !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Errorf("host %d: different bytes", i)
		}
	}
}

func TestMaxOutput(t *testing.T) {
	t.Parallel()
	p := fleettest.NewFleet(t, fleettest.NewServer(t, nil).Config())
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "bytes 100000; stderr few", MaxOutput: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Join(t.Context(), outs); err != nil {
		t.Fatal(err)
	}
	if got := fleettest.Text(t, outs[0].Stdout); len(got) != 1000 || !outs[0].Stdout.Truncated() || outs[0].Stderr.Truncated() {
		t.Errorf("%d bytes, truncated %v %v", len(got), outs[0].Stdout.Truncated(), outs[0].Stderr.Truncated())
	}
}

func TestStdinForAll(t *testing.T) {
	t.Parallel()
	const n, size = 20, 3 << 20
	_, hosts := fleettest.Simulated(t, n, func(i int, h *simfleet.Host) {
		if i == 5 {
			h.Fault.Kind = simfleet.NeverReadStdin
		}
	})
	p := fleettest.NewFleet(t, hosts...)
	src := &countingReader{Reader: io.LimitReader(fleettest.Zeros{}, size)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := p.Stream(ctx, fleetssh.Command{Line: "wc -c", Stdin: src})
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for ev := range events {
		if ev.Kind == fleetssh.StdoutLine && strings.TrimSpace(ev.Text) == fmt.Sprint(size) {
			if good++; good == n-1 {
				cancel() // all but the host that does not read
			}
		}
	}
	if good != n-1 {
		t.Errorf("%d hosts got everything", good)
	}
	if src.n != size {
		t.Errorf("standard input was read %d bytes, has %d", src.n, size)
	}
}

type countingReader struct {
	io.Reader
	n int
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += n
	return n, err
}

// TestManyAtOnce uses one client from many goroutines.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 5, nil)
	p := fleettest.NewFleet(t, hosts...)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: fmt.Sprintf("echo %d", i)})
			if err != nil {
				t.Error(err)
				return
			}
			if err := p.Join(t.Context(), outs); err != nil {
				t.Error(err)
			}
			for _, out := range outs {
				if got := fleettest.Text(t, out.Stdout); got != fmt.Sprintln(i) {
					t.Errorf("%q instead of %d", got, i)
				}
			}
		})
	}
	wg.Wait()
}
