package faults

import (
	"context"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetssh/internal/simfleet"
)

// rounds are how many cells are at work at a time (they wait most of it), and by what factor
// their time limits grow. A cell that is late on a busy machine is run again, with fewer
// beside it; one that never ends is late in every round.
var rounds = []struct {
	atOnce int
	factor time.Duration
}{{64, 1}, {32, 2}, {8, 6}}

// TestStopReading lets hosts stop reading, in every phase, and has every entry point meet
// each of them: what has a time-out ends with it, what has none ends by keep-alive, Close
// ends at once, and a good host beside the bad one gets its result. Nothing is left.
func TestStopReading(t *testing.T) {
	everyEntry(t, []string{
		"stop-reading=version", "stop-reading=kex", "stop-reading=auth", "stop-reading=login", "stop-reading=open", "stop-reading=exec",
		"stop-reading", "stop-reading=file+100000", "stop-reading=tunnel",
		"stop-reading-trickle=version", "stop-reading-trickle=kex", "stop-reading-trickle=auth", "stop-reading-trickle=login",
		"stop-reading-trickle=open", "stop-reading-trickle=exec", "stop-reading-trickle", "stop-reading-trickle=run+4000",
		"stop-reading-trickle=file+100000", "stop-reading-trickle=tunnel", "stop-reading-trickle=tunnel+100000",
		"huge-window", "huge-window=tunnel", "stall-rekey", "stall-rekey=tunnel",
		"flood-requests=login", "flood-requests", "flood-opens=login", "flood-opens", "flood-opens=tunnel",
		"flood-pings", "flood-channel-requests=open", "flood-channel-requests", "flood-channel-requests=tunnel", "flood-slowly", "flood-slowly=tunnel",
	})
	left := func() []string { return slices.DeleteFunc(goroutines(), leftByConfirmations) }
	for end := time.Now().Add(time.Minute); len(left()) > 0; {
		if time.Now().After(end) {
			t.Fatalf("left behind:\n%s", strings.Join(left(), "\n\n"))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestFloodOfConfirmations is the same for hosts that make the SSH library leave
// goroutines of its own behind. Ours end.
func TestFloodOfConfirmations(t *testing.T) {
	everyEntry(t, []string{"flood-confirmations=open", "flood-confirmations"})
}

// leftByConfirmations reports whether the other test, which may have run before, has left
// a goroutine behind.
func leftByConfirmations(stack string) bool {
	return strings.Contains(stack, `"cell":"flood-confirmations`) && leakOfLibrary(stack)
}

// everyEntry has every entry point meet each of the faults.
func everyEntry(t *testing.T, faults []string) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, sent), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(dir, "agent")
	silentAgent(t, agent)
	port := echo(t)
	var cells []*cell
	for _, text := range faults {
		fault, err := simfleet.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries(agent, port) {
			if slices.Contains(e.phases, phaseOf(fault)) {
				cells = append(cells, &cell{t: t, name: fault.String() + ", " + e.name, fault: fault, entry: e, large: large, patient: !e.alone, limit: limit})
			}
		}
	}
	n, repeated := len(cells), 0
	for i, round := range rounds {
		if i > 0 {
			repeated += len(cells)
			for k, c := range cells {
				cells[k] = &cell{t: t, name: c.name, fault: c.fault, entry: c.entry, large: large, patient: c.patient, limit: round.factor * limit}
			}
		}
		runAll(cells, round.atOnce)
		cells = slices.DeleteFunc(cells, func(c *cell) bool { return c.late == "" })
	}
	for _, c := range cells {
		t.Errorf("%s: %s", c.name, c.late)
	}
	t.Logf("%d cells, %d of them again", n, repeated)
}

// runAll runs cells, some at a time.
func runAll(cells []*cell, atOnce int) {
	room := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, c := range cells {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			c.dir = c.t.TempDir()
			// What is left behind is named by its cell.
			pprof.Do(context.Background(), pprof.Labels("cell", c.name), func(context.Context) {
				defer c.start()()
				c.entry.run(c)
			})
		})
	}
	wg.Wait()
}

func phaseOf(f simfleet.Fault) simfleet.Phase {
	if f.Phase == "" {
		return simfleet.PhaseRun
	}
	return f.Phase
}
