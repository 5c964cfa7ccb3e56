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

// rounds sets how many cells run at once (they wait most of the time), and the factor of their time
// limits. A cell that is late, perhaps because the machine is busy, runs again in the next round,
// with fewer others at once. A cell that never ends is late in every round.
var rounds = []struct {
	atOnce int
	factor time.Duration
}{{64, 1}, {32, 2}, {8, 6}}

// TestStopReading tests every entry point against hosts that stop reading, in every phase. A call
// with a time-out ends with it, a call without one ends by keep-alive, Close ends promptly, and a
// good host next to the bad one gets its result. No goroutine is left.
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

// TestFloodOfConfirmations does the same with hosts that make x/crypto leak goroutines. The
// library's own goroutines end.
func TestFloodOfConfirmations(t *testing.T) {
	everyEntry(t, []string{"flood-confirmations=open", "flood-confirmations"})
}

// leftByConfirmations reports whether a goroutine was leaked in TestFloodOfConfirmations, which may
// have run before.
func leftByConfirmations(stack string) bool {
	return strings.Contains(stack, `"cell":"flood-confirmations`) && leakOfLibrary(stack)
}

// everyEntry tests every entry point against each of the faults.
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
	t.Logf("%d cells, %d repetitions", n, repeated)
}

// runAll runs all cells, at most atOnce at the same time.
func runAll(cells []*cell, atOnce int) {
	room := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, c := range cells {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			c.dir = c.t.TempDir()
			// The label names the cell of a goroutine that is left behind.
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
