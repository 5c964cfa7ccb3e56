package session

import (
	"context"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// TestWorking keeps each host in another phase, and checks what Working reports for a status line.
func TestWorking(t *testing.T) {
	t.Parallel()
	stalled := fleettest.Faulty(t, simfleet.StallKex).Config()
	refused := fleettest.NewServer(t, nil).Config()
	refused.Port, refused.Attempts, refused.RetryDelay = fleettest.ClosedPort(t), 3, time.Hour
	twice := fleettest.NewServer(t, func(h *simfleet.Host) {
		h.DropFirst = 1
		h.Fault.Kind = simfleet.StallAuth
	}).Config()
	twice.Attempts = 2
	running := fleettest.NewServer(t, nil).Config()
	done := fleettest.NewServer(t, nil).Config()
	stalled.ConnectTimeout, twice.ConnectTimeout = 2*fleettest.Patience, 2*fleettest.Patience
	p := fleettest.NewFleet(t, stalled, refused, twice, running, done)
	if at := p.Working(); at != nil {
		t.Errorf("before the first call: %v", at)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := time.Now()
	events, err := p.Stream(ctx, fleetssh.Command{Line: "%s", HostArgs: []fleetssh.Args{
		{List: []string{"true"}}, {List: []string{"true"}}, {List: []string{"true"}}, {List: []string{"sleep 1000"}}, {List: []string{"true"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range events {
		}
	}()
	type at struct {
		host    int
		phase   fleetssh.Phase
		attempt int
	}
	want := []at{{0, "handshake", 1}, {1, "retry", 1}, {2, "auth", 2}, {3, "run", 1}}
	fleettest.Eventually(t, "the hosts to be where they are kept", func() bool {
		now := p.Working()
		if len(now) != len(want) {
			return false
		}
		for i, w := range now {
			if w.Begun.Before(begun) || w.Since.Before(w.Begun) || w.Since.After(time.Now()) {
				t.Errorf("host %d: begun %v, since %v", w.Index, w.Begun, w.Since)
			}
			if (at{w.Index, w.Phase, w.Attempt}) != want[i] {
				return false
			}
		}
		return true
	})
	cancel()
	<-ended
	if at := p.Working(); at != nil {
		t.Errorf("after the end: %v", at)
	}
}
