package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// TestCancelWhileStarting cancels a stream while the request to start the command is on its
// way: a command that then starts is stopped, and the outcome says so.
func TestCancelWhileStarting(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, func(h *simfleet.Host) { h.Latency = 500 * time.Millisecond })
	p := fleettest.NewFleet(t, s.Config())
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	events, err := p.Stream(ctx, fleetssh.Command{Line: "sleep 1000"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		// The answer is delayed. A cancellation during that time must still stop the started
		// command.
		fleettest.Eventually(t, "the start", func() bool { return s.Stats().Started > 0 })
		cancel(errors.New("enough"))
	}()
	finished := 0
	for ev := range events {
		if ev.Kind != fleetssh.Finished {
			continue
		}
		finished++
		if o := ev.Output.Outcome(); o.Kind != fleetssh.Cancelled || !o.Stopped {
			t.Errorf("%+v, %v", o, ev.Output.Err)
		}
	}
	if finished != 1 {
		t.Errorf("%d hosts finished", finished)
	}
	if signals := s.Stats().Signals; len(signals) == 0 {
		t.Error("the command was not ended")
	}
}
