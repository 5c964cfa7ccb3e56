package transfer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestCleaning checks how long a host is cleaned up that answers now and then.
func TestCleaning(t *testing.T) {
	t.Parallel()
	for answers, want := range map[int]time.Duration{0: cleanUpLimit, 4: 3 * cleanUpLimit} {
		synctest.Test(t, func(t *testing.T) {
			over, cancel := context.WithCancel(t.Context())
			cancel()
			begun := time.Now()
			ctx, answered, end := cleaning(over)
			defer end()
			for range answers {
				time.Sleep(cleanUpLimit / 2)
				answered()
			}
			<-ctx.Done()
			if took := time.Since(begun); took != want {
				t.Errorf("%d answers: ended after %v, want %v", answers, took, want)
			}
			if last, ok := ctx.Deadline(); !ok || last.Sub(begun) != maxCleanUp {
				t.Errorf("it may last until %v after %v", last, begun)
			}
		})
	}
}
