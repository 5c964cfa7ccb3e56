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

// Patience is how long a test waits for an event that is due at once. On a machine with busy
// processors, such an event may take many seconds.
const Patience = 4 * time.Minute

// Eventually waits until a condition holds. If that takes longer than limit, the test fails.
func Eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if !poll(limit, holds) {
		t.Fatalf("timed out after %v: %s", limit, what)
	}
}

// poll waits until a condition holds, and reports whether it did within the limit.
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

// Within expects f to take no longer than limit. If f takes longer, Within calls it again, up to
// five times, because a busy machine may be the reason. So limit can be short: just below the
// time-out that f must not wait for.
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

// Processes returns the processes with an argument that contains marker, but no space, semicolon or
// newline. So it finds the marked processes themselves, but not shells whose -c argument contains
// marker.
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

// Marker returns a unique number of seconds, which marks a sleep process.
func Marker() string { return fmt.Sprintf("4711.%d%d", os.Getpid(), time.Now().UnixNano()) }

// WriteProgram writes an executable file. A file that is open for writing cannot be executed
// (ETXTBSY), and between fork and exec a new process holds all descriptors of this one. So
// WriteProgram keeps other goroutines from starting a process in the meantime.
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
		// The format is "pid (name) state ppid …"; the name may contain any character.
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

// Kill kills the processes that [Processes] finds for the markers.
func Kill(markers ...string) {
	for _, marker := range markers {
		for _, pid := range Processes(marker) {
			kill(pid, syscall.SIGKILL)
		}
	}
}
