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

// boundMemory makes the collector work harder instead of letting the heap grow to
// twice what is alive, when output comes faster than it can be shown. The user's
// GOMEMLIMIT wins. It returns what undoes it.
func boundMemory(base int64, fanout int) (undo func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(base + int64(fanout)*memoryPerHost)
	return func() { debug.SetMemoryLimit(before) }
}
