package sshdtest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
)

// CheckLeaks fails the test if goroutines that it has started are still running after its end. Call
// it before anything else in the test. Other tests may run in parallel: goroutines inherit the
// test's label.
func CheckLeaks(t testing.TB) {
	t.Helper()
	const key = "sshdtest"
	value := t.Name()
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(key, value)))
	label := fmt.Sprintf("%q:%q", key, value)
	t.Cleanup(func() {
		var left []string
		ended := poll(Patience, func() bool {
			left = labelled(label)
			return len(left) == 0
		})
		pprof.SetGoroutineLabels(context.Background())
		if !ended {
			t.Errorf("goroutines left behind:\n%s", strings.Join(left, "\n\n"))
		}
	})
}

// labelled returns the stacks of the goroutines with a label, except for goroutines that run a
// test.
func labelled(label string) []string {
	var b bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&b, 1)
	var found []string
	for block := range strings.SplitSeq(b.String(), "\n\n") {
		// os/signal starts one goroutine at its first use, which lives as long as the process.
		ours := !strings.Contains(block, "testing.tRunner") && !strings.Contains(block, "os/signal.loop")
		if strings.Contains(block, label) && ours {
			found = append(found, block)
		}
	}
	return found
}
