package main

import (
	"os"
	"runtime/debug"
)

const (
	memoryBase    = 38 << 20  // of a run whose output pours in
	memoryOfCopy  = 128 << 20 // of a copy: its blocks on their way
	memoryPerHost = 128 << 10 // more for each host at work
)

// idleCollector is how much the heap may grow, in percent, before it is collected while it
// is far below the limit. Most of what a run allocates is for one login and short-lived:
// with Go's default of 100 a tenth of the CPU time goes to the collector.
const idleCollector = 400

// boundMemory sets a limit near which the collector works harder, instead of letting the
// heap grow when output comes faster than it can be shown, and lets it rest below. The
// user's GOMEMLIMIT and GOGC win. It returns what undoes it.
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
