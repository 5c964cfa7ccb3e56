package sshdtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for what a healthy program does at once: a machine whose
// processors are taken lets it wait for many seconds.
const Patience = 4 * time.Minute

// Eventually waits until a condition holds, and fails the test if it does not in
// time.
func Eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if !poll(limit, holds) {
		t.Fatalf("not after %v: %s", limit, what)
	}
}

// poll reports whether a condition comes to hold in time.
func poll(limit time.Duration, holds func() bool) bool {
	if holds() {
		return true
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for {
		select {
		case <-tick.C:
			if holds() {
				return true
			}
		case <-end:
			return holds()
		}
	}
}

// Within expects f to take no longer than a limit. It is called again if a busy machine may have
// been the reason, so that the limit can be one below that of what must not happen.
func Within(t testing.TB, what string, limit time.Duration, f func()) {
	t.Helper()
	var took time.Duration
	for range 5 {
		begun := time.Now()
		f()
		if took = time.Since(begun); took <= limit {
			return
		}
	}
	t.Errorf("%s took %v, and more than %v each time", what, took, limit)
}

// Processes returns the processes with a word in their command line that holds
// marker and nothing that a shell would have to read: the processes themselves,
// not the shells that were given a line with marker in it.
func Processes(marker string) []int {
	return processes(func(pid string) bool {
		cmdline, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		for word := range bytes.SplitSeq(cmdline, []byte{0}) {
			if bytes.Contains(word, []byte(marker)) && !bytes.ContainsAny(word, " ;\n") {
				return true
			}
		}
		return false
	})
}

// Marker returns a number of seconds to sleep that no other process sleeps.
func Marker() string { return fmt.Sprintf("4711.%d%d", os.Getpid(), time.Now().UnixNano()) }

// WriteProgram writes a file that others may run. The system does not run a file that somebody has
// open for writing, and a process that is just being started elsewhere in the test holds all files
// of ours for a moment: so none is started meanwhile.
func WriteProgram(t testing.TB, path, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// Children returns the child processes of a process.
func Children(parent int) []int {
	return processes(func(pid string) bool {
		stat, _ := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		// "pid (name) state ppid …"; the name may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		return len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent)
	})
}

func processes(match func(pid string) bool) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && match(e.Name()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Kill ends the processes that [Processes] finds.
func Kill(markers ...string) {
	for _, marker := range markers {
		for _, pid := range Processes(marker) {
			kill(pid, syscall.SIGKILL)
		}
	}
}
