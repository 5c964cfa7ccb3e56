// Package journal records each run while it runs, and reads the records back, also after a crash.
//
// A run is one file of JSON lines, named for its time, and beside it a file with the output of
// the hosts. The rules:
//   - Each line is one write to a file opened for appending. A process that is killed leaves
//     whole lines; only the last one may be incomplete.
//   - The start on a host is written before its command is sent. A host without any line was
//     not started; a host that started and has no result may have run.
//   - No host is reported as not started if lines may be missing: after the disk was full (the
//     file is renamed before the first command that it lacks), after the machine was rebooted,
//     and when a line cannot be read.
//   - A run in progress holds a lock on its file, which ends with the process.
//   - Lines of unknown types and unknown fields are ignored: newer programs add some.
//
// The journal writes what it is given. Keeping secrets out of it is the caller's task.
package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The limits of what is recorded and read.
const (
	maxRuns  = 200       // the oldest are removed beyond that
	maxBytes = 512 << 20 // of all runs

	maxOutput     = 64 << 20 // bytes of output of a run
	maxHostOutput = 1 << 20  // bytes of output of a host
	maxPiece      = 64 << 10 // bytes of output in one line of the file

	maxLine  = 1 << 20 // bytes of a line that is read; a longer one counts as unreadable
	maxText  = 4 << 10 // bytes of a message of a result
	maxHosts = 1_000_000
)

// A run has the file ID.jsonl, or ID.partial.jsonl once a line could not be written, and
// ID.output.jsonl.
const (
	journalSuffix = ".jsonl"
	partialSuffix = ".partial.jsonl"
	outputSuffix  = ".output.jsonl"
)

// Dir returns the directory of the runs of the current user: fleetssh/runs in
// $XDG_STATE_HOME, or else in ~/.local/state. It need not exist.
func Dir() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the XDG specification says to ignore it
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("directory for the record of runs: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "fleetssh", "runs"), nil
}

// idTime is the first part of the name of a run. Names sort by it.
const idTime = "20060102T150405.000000Z"

// newID returns the name of a run that starts at t.
func newID(t time.Time) string {
	var random [3]byte
	rand.Read(random[:]) // never fails
	return t.UTC().Format(idTime) + "-" + hex.EncodeToString(random[:])
}

// idOf returns the run that a file of the directory belongs to.
func idOf(name string) (id string, ok bool) {
	for _, suffix := range []string{outputSuffix, partialSuffix, journalSuffix} {
		if id, ok := strings.CutSuffix(name, suffix); ok {
			return id, validID(id)
		}
	}
	return "", false
}

// validID reports whether newID could have returned id.
func validID(id string) bool {
	_, random, _ := strings.Cut(id, "-")
	return len(random) == 6 && strings.Trim(random, "0123456789abcdef") == "" && !timeOf(id).IsZero()
}

// timeOf returns the time in the name of a run, zero if there is none.
func timeOf(id string) time.Time {
	date, _, _ := strings.Cut(id, "-")
	t, err := time.Parse(idTime, date)
	if err != nil || t.Format(idTime) != date {
		return time.Time{}
	}
	return t
}

// bootID identifies the current boot of the machine. It is empty where that is not known.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// truncated returns the first n bytes of a text, with an ellipsis if there were more.
func truncated(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + " …"
}

// reason returns the cause of an error without its path, which the message names already.
func reason(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}
