package turns

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A host that waits gives its turn to another one, and gets one back. Never do more hosts work at a time
// than there are turns, also if a goroutine that waits outlives the work.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hosts, most = 20, 3
		var next, active, peak, waiting, peakWaiting atomic.Int32
		work := func(change int32) {
			peak.Store(max(peak.Load(), active.Add(change)))
		}
		var all Turns
		begun := time.Now()
		all.Run(most, func(turn *Turn) bool {
			i := next.Add(1)
			if i > hosts {
				return false
			}
			work(1)
			time.Sleep(time.Second)
			switch {
			case i%2 == 0: // waits for an hour
				work(-1)
				back := turn.Aside()
				turn.Aside()() // has no effect: the turn is given away
				peakWaiting.Store(max(peakWaiting.Load(), waiting.Add(1)))
				time.Sleep(time.Hour)
				waiting.Add(-1)
				back()
				work(1)
				time.Sleep(time.Second)
			case i == 7: // ends before the wait does
				back := turn.Aside()
				go func() {
					time.Sleep(time.Minute)
					back()
				}()
			}
			work(-1)
			return true
		})
		if peak.Load() != most || peakWaiting.Load() != hosts/2 || active.Load() != 0 {
			t.Errorf("%d hosts worked at a time, %d waited", peak.Load(), peakWaiting.Load())
		}
		if took := time.Since(begun); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("all together took %v", took)
		}
		if len(all.tokens) != 0 {
			t.Errorf("%d turns are still held", len(all.tokens))
		}
	})
}
