package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fleetssh/internal/nearest"
)

// State is the state of a run.
type State string

// The states of a run.
const (
	Ended       State = "ended"
	Interrupted State = "interrupted" // the process ended before the run did
	UnderWay    State = "running"
)

// Info is the entry of a run in a list.
type Info struct {
	ID       string
	Time     time.Time // when it started
	Command  string
	Count    int // of its hosts
	State    State
	Partial  bool          // lines of its record are missing
	OK       int           // hosts that ran the command and exited 0
	Failed   int           // hosts with another result, or that may have run
	Skipped  int           // hosts that were not started
	Elapsed  time.Duration // as far as it is known
	ExitCode int           // if State is Ended
}

// Run is a recorded run.
type Run struct {
	Info
	Args []string // this and the following fields are those given to [Create]

	Settings Settings
	Program  Program
	Verb     string
	Words    []string
	Hosts    []HostRun // in the order of the run; fewer than Count if the record is incomplete
	Batches  []Batch   // those that have ended; empty: there was one
	Gates    []Gate    // in the order in which they ran

	dir string
}

// HostRun is the record of one host of a run.
type HostRun struct {
	Host
	Index  int
	Began  time.Time // when the command was about to be sent; zero if that is not known
	Ended  time.Time // zero if there is no result
	Result Result    // Outcome is always set
	Block  int       // which block of folded output showed it, from 1; 0: none did
}

// OK reports whether the command ran and exited 0.
func (h *HostRun) OK() bool { return h.Result.OK() }

// DisplayName returns the name of the host in output.
func (h *HostRun) DisplayName() string {
	if h.Label != "" {
		return h.Label
	}
	return h.Name
}

// Span returns when the work on the host started and ended, relative to the start of the run.
// Both are zero if that is not known.
func (h *HostRun) Span(run *Run) (from, to time.Duration) {
	connect := milliseconds(h.Result.ConnectMS)
	switch {
	case h.Result.Outcome == "skipped", h.Began.IsZero() && h.Ended.IsZero():
		return 0, 0
	case h.Ended.IsZero():
		to = run.Elapsed
	default:
		to = h.Ended.Sub(run.Time)
	}
	from = to - connect - milliseconds(h.Result.RunMS)
	if !h.Began.IsZero() {
		from = h.Began.Sub(run.Time) - connect
	}
	from = max(from, 0)
	return from, max(from, to)
}

// Classes are the words for [Run.Select], in the order in which they are listed.
var Classes = []string{
	"all", "ok", "failed", "exited", "signaled", "timed_out", "cancelled", "lost", Unknown,
	"unreachable", "not_started", "skipped", Running, Waiting,
}

// Select returns the hosts of a class: an outcome, "ok", "failed" (all that are not ok, and
// neither running nor waiting) or "all". A hyphen stands for an underscore.
func (r *Run) Select(class string) ([]HostRun, error) {
	class = strings.ReplaceAll(class, "-", "_")
	if !slices.Contains(Classes, class) {
		words := append(slices.Clone(Classes), "exit=CODE", "slow>TIME", "block=N")
		if near := nearest.Hint(nearest.Names(class, words)); near != "" {
			return nil, fmt.Errorf("%q is not a class of hosts; %s", class, near)
		}
		return nil, fmt.Errorf("%q is not a class of hosts: want one of %s", class, strings.Join(words, ", "))
	}
	var hosts []HostRun
	for i := range r.Hosts {
		if r.Hosts[i].is(class) {
			hosts = append(hosts, r.Hosts[i])
		}
	}
	return hosts, nil
}

func (h *HostRun) is(class string) bool {
	switch class {
	case "all":
		return true
	case "ok":
		return h.OK()
	case "failed":
		return !h.OK() && h.Result.Outcome != Running && h.Result.Outcome != Waiting
	}
	return h.Result.Outcome == class
}

// Output yields the recorded output of the hosts, in the order in which it arrived.
func (r *Run) Output() iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		file, err := os.Open(filepath.Join(r.dir, r.ID+outputSuffix))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Line{}, err)
			return
		}
		defer file.Close()
		for line, err := range readOutput(file, len(r.Hosts)) {
			if !yield(line, err) {
				return
			}
		}
	}
}
