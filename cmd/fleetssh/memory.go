package main

import (
	"os"
	"runtime/debug"
)

const (
	memoryBase    = 38 << 20  // for a run whose output comes faster than it is shown
	memoryOfCopy  = 128 << 20 // for a copy, with the blocks that are being sent
	memoryPerHost = 128 << 10 // added for each host at work
)

// idleCollector is GOGC while the heap is far below the limit. Most of what a run allocates is for one
// login and short-lived. With Go's default of 100 the collector would take a tenth of the CPU time.
const idleCollector = 400

// boundMemory sets a limit near which the collector works harder, so that the heap does not grow when
// output comes faster than it can be shown. Far below the limit the collector works less. The user's
// GOMEMLIMIT and GOGC take precedence. undo restores the settings.
func boundMemory(base int64, fanout int) (undo func()) {
	undo = func() {}
	if os.Getenv("GOMEMLIMIT") == "" {
		before := debug.SetMemoryLimit(base + int64(fanout)*memoryPerHost)
		undo = func() { debug.SetMemoryLimit(before) }
	}
	if os.Getenv("GOGC") != "" {
		return undo
	}
	percent, limit := debug.SetGCPercent(idleCollector), undo
	return func() {
		debug.SetGCPercent(percent)
		limit()
	}
}
