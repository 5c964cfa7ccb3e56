package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
)

// Do calls the function once per host, at most PoolSize at a time, and every error has its
// host.
func TestDo(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 12, nil)
	hosts[3].Port = fleettest.ClosedPort(t)
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 3
	var mu sync.Mutex
	done := make(map[int]error)
	p.HostDone = func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if _, again := done[i]; again {
			t.Errorf("host %d is done twice", i)
		}
		done[i] = err
	}
	odd := errors.New("odd")
	var now, most atomic.Int64
	outputs := make([]string, len(hosts))
	err := p.Do(t.Context(), func(ctx context.Context, i int, c *fleetssh.Client) error {
		for n := now.Add(1); n > most.Load(); n = now.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		out, err := c.Output(ctx, fmt.Sprintf("echo %d", i))
		outputs[i] = string(out)
		if i == 5 {
			err = odd
		}
		return err
	})
	failed := fleettest.AsError[*fleetssh.HostsError](t, err)
	if len(failed.Failed) != 2 || failed.Total != 12 || !errors.Is(err, odd) || failed.Failed[1].Err != odd {
		t.Errorf("%v", err)
	}
	fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.ConnectionError](t, failed.Failed[0].Err).Phase, fleetssh.PhaseConnect)
	for i, text := range outputs {
		if want := fmt.Sprintf("%d\n", i); text != want && i != 3 {
			t.Errorf("host %d: %q", i, text)
		}
		if (done[i] != nil) != (i == 3 || i == 5) {
			t.Errorf("host %d is done with %v", i, done[i])
		}
	}
	if len(done) != 12 || most.Load() > 3 {
		t.Errorf("%d hosts are done, %d at a time", len(done), most.Load())
	}
}

func TestDoStopsOnError(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 8, nil)
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize, p.StopOnError, p.MaxFailures = 1, true, 1
	var at []int
	err := p.Do(t.Context(), func(_ context.Context, i int, _ *fleetssh.Client) error {
		at = append(at, i)
		if i > 1 {
			return errors.New("no")
		}
		return nil
	})
	if want := []int{0, 1, 2, 3}; !slices.Equal(at, want) {
		t.Errorf("Working: %v", at)
	}
	failed := fleettest.AsError[*fleetssh.HostsError](t, err).Failed
	if len(failed) != 6 || fleetssh.OutcomeOf(failed[2].Err).Kind != fleetssh.Skipped {
		t.Errorf("%v", err)
	}
}

// A connection that has died since the last call is replaced before the command runs, and a
// command that has run is not repeated.
func TestDoReplacesDeadConnections(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, nil)
	p := fleettest.NewFleet(t, s.Config())
	for range 5 {
		if err := p.Do(fleettest.Soon(t), func(ctx context.Context, _ int, c *fleetssh.Client) error {
			_, err := c.Output(ctx, "true")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		s.Drop()
	}
	calls := 0
	err := p.Do(fleettest.Soon(t), func(ctx context.Context, _ int, c *fleetssh.Client) error {
		calls++
		if _, err := c.Output(ctx, "true"); err != nil {
			return err
		}
		s.Drop()
		for {
			if _, err := c.Output(ctx, "true"); err != nil {
				return err
			}
		}
	})
	fleettest.AsError[*fleetssh.ConnectionError](t, err)
	if calls > 2 || calls == 2 && !strings.Contains(err.Error(), "open a session") {
		t.Errorf("%d calls: %v", calls, err)
	}
}

// Closing p ends the context of the function.
func TestDoEndsWithClose(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 2, nil)
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 1
	begun := make(chan struct{})
	go func() {
		<-begun
		p.Close()
	}()
	err := p.Do(t.Context(), func(ctx context.Context, _ int, _ *fleetssh.Client) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	failed := fleettest.AsError[*fleetssh.HostsError](t, err).Failed
	if len(failed) != 2 || fleetssh.OutcomeOf(failed[1].Err).Kind != fleetssh.Skipped || !strings.Contains(failed[0].Err.Error(), "closed") {
		t.Errorf("%v", err)
	}
}

// Run ends with its context, and every host has an outcome.
func TestRunCancelled(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 5, nil)
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 2
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var started atomic.Int64
	p.BeforeStart = func(int) {
		if started.Add(1) == 2 {
			go func() {
				fleettest.Eventually(t, "both to run", func() bool {
					running := p.Working()
					return len(running) == 2 && running[0].Phase == fleetssh.PhaseRun && running[1].Phase == fleetssh.PhaseRun
				})
				cancel()
			}()
		}
	}
	outs, err := p.Run(ctx, fleetssh.Command{Line: "echo here; sleep 60"})
	if failed := fleettest.AsError[*fleetssh.HostsError](t, err); len(failed.Failed) != 5 || len(outs) != 5 {
		t.Fatalf("%v", err)
	}
	for i, out := range outs {
		want, text := "cancelled and stopped", "here\n"
		if i >= 2 {
			want, text = "skipped", ""
		}
		if got := fleettest.Text(t, out.Stdout); out.Outcome().String() != want || out.Index != i || got != text {
			t.Errorf("host %d: %v, %q", i, out.Outcome(), got)
		}
	}
	if p.LastOutput() != nil {
		t.Error("Run has left outputs")
	}
}

// A RunCommand that has contacted no host does not show the results of the previous one.
func TestLastRunContactedNobody(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 2, nil)
	p := fleettest.NewFleet(t, hosts...)
	if _, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"}); err != nil {
		t.Fatal(err)
	}
	_, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "echo %s", HostArgs: []fleetssh.Args{}})
	refused := fleettest.AsError[*fleetssh.HostArgumentError](t, err)
	if got := p.Join(t.Context(), nil); got != refused || p.LastOutput() != nil || !p.Finished(nil) {
		t.Errorf("%v, %v", got, p.LastOutput())
	}
}
