package main

import (
	"os"
	"runtime/debug"
)

const (
	memoryForRun  = 38 << 20  // for a run whose output arrives faster than it is shown
	memoryForCopy = 128 << 20 // for a copy, with the blocks that are being sent
	memoryPerHost = 128 << 10 // added for each active host
)

// idleGOGC is GOGC while the heap is far below the limit. Most allocations of a run belong to a login and
// are short-lived. With Go's default of 100 the collector would take a tenth of the CPU time.
const idleGOGC = 400

// limitMemory sets a limit near which the collector works harder, so that the heap does not grow when
// output arrives faster than it is shown. Far below the limit the collector works less. The user's
// GOMEMLIMIT and GOGC take precedence. undo restores the settings.
func limitMemory(base int64, fanout int) (undo func()) {
	undo = func() {}
	if os.Getenv("GOMEMLIMIT") == "" {
		before := debug.SetMemoryLimit(base + int64(fanout)*memoryPerHost)
		undo = func() { debug.SetMemoryLimit(before) }
	}
	if os.Getenv("GOGC") != "" {
		return undo
	}
	percent, limit := debug.SetGCPercent(idleGOGC), undo
	return func() {
		debug.SetGCPercent(percent)
		limit()
	}
}
