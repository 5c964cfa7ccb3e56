package copy

import (
	"bytes"
	"context"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// Each host yields the progress of its files, then one result. The callbacks are called as well.
func TestStreamUpload(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	fleet, hosts := fleettest.Simulated(t, 3, func(i int, h *simfleet.Host) {
		if i == 1 {
			h.Fault = simfleet.Fault{Kind: simfleet.DenyPath, Path: "/home/alice"}
		}
	})
	p := fleettest.NewFleet(t, hosts...)
	calls := 0
	opts := &fleetssh.CopyOptions{Finished: func(int, fleetssh.CopyResult) { calls++ }}
	events, err := p.StreamUpload(t.Context(), localFile(t, "f", content), "f", opts)
	if err != nil {
		t.Fatal(err)
	}
	ended, results := make(map[int]bool), make(map[int]fleetssh.CopyResult)
	for e := range events {
		switch {
		case (e.Progress == nil) == (e.Result == nil):
			t.Errorf("%+v", e)
		case e.Progress != nil:
			if _, over := results[e.Progress.Index]; over {
				t.Errorf("host %d: progress after the result", e.Progress.Index)
			}
			ended[e.Progress.Index] = ended[e.Progress.Index] || e.Progress.Ended
		default:
			results[e.Result.Index] = *e.Result
		}
	}
	fleettest.Equal(t, "results", len(results), 3)
	fleettest.Equal(t, "calls of Finished", calls, 3)
	for i := range hosts {
		good := i != 1
		fleettest.Equal(t, "the file has ended", ended[i], good) // a file that was not started has no progress
		fleettest.Equal(t, "succeeded", results[i].Err == nil, good)
		fleettest.Equal(t, "host", results[i].Host.Host, hosts[i].Host)
		if good {
			wantRemote(t, fleet.Servers[i], "/home/alice/f", content)
		}
	}
	if _, err := p.StreamUpload(t.Context(), "/no/such/file", "f", nil); err == nil {
		t.Error("a file that does not exist is accepted")
	}
}

// Leaving the loop ends the copies and leaves nothing behind. After the context is cancelled, every
// host still yields its result.
func TestStreamUploadLeft(t *testing.T) {
	sshdtest.CheckLeaks(t)
	file := localFile(t, "f", make([]byte, 1<<20))
	_, hosts := fleettest.Simulated(t, 4, nil)
	for _, leave := range []bool{true, false} {
		p := fleettest.NewFleet(t, hosts...)
		p.PoolSize = 2
		ctx, cancel := context.WithCancel(t.Context())
		events, err := p.StreamUpload(ctx, file, "f", &fleetssh.CopyOptions{Rate: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		kinds := make(map[fleetssh.OutcomeKind]int)
		begun := time.Now()
		for e := range events {
			if e.Result != nil {
				kinds[e.Result.Outcome.Kind]++
			} else if leave {
				break
			}
			cancel()
		}
		cancel()
		if took := time.Since(begun); took > fleettest.Patience {
			t.Errorf("took %v", took)
		}
		if !leave && (kinds[fleetssh.Cancelled] == 0 || kinds[fleetssh.Cancelled]+kinds[fleetssh.Skipped] != len(hosts)) {
			t.Errorf("outcomes %v", kinds)
		}
	}
}
