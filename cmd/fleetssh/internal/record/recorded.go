package record

import (
	"iter"
	"slices"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// resultOf converts a recorded result. It is the inverse of journalResult.
func resultOf(h *journal.HostRun, begun time.Time) results.Result {
	k := &h.Result
	r := results.Result{Index: h.Index, OK: k.OK(), Truncated: k.Cut}
	r.Outcome = fleetssh.Outcome{ExitCode: k.ExitCode, Signal: k.Signal, Phase: fleetssh.Phase(k.Phase), Stopped: k.Stopped}
	r.Timing = fleetssh.Timing{Connect: fromMilliseconds(k.ConnectMS), Run: fromMilliseconds(k.RunMS), Attempts: k.Attempts}
	if !h.Ended.IsZero() {
		r.After = max(0, h.Ended.Sub(begun))
	}
	if e := k.Error; e != nil {
		r.Message = e.Message
		r.Problem = results.Problem{Kind: e.Kind, Phase: e.Phase, Reason: e.Reason, Detail: e.Detail, Hint: e.Hint, Tries: k.Attempts}
	}
	for kind := fleetssh.Exited; kind <= fleetssh.Skipped; kind++ {
		if kind.String() == k.Outcome {
			r.Outcome.Kind = kind
			return r
		}
	}
	r.Outcome.Kind = fleetssh.Lost
	r.Problem = results.Problem{Kind: "lost", Reason: "its outcome was not recorded"}
	return r
}

// Summary returns the results of a run, as far as they are known. Hosts that are running or waiting
// have none.
func Summary(run *journal.Run) *results.Summary {
	t := &results.Summary{Hosts: make([]selection.Host, len(run.Hosts)), Begun: run.Time, Interrupted: run.State == journal.Interrupted}
	for i := range run.Hosts {
		h := &run.Hosts[i]
		t.Hosts[i] = selection.Host{Name: h.Name, Label: termline.Visible(h.DisplayName())}
		if h.Result.Outcome != journal.Running && h.Result.Outcome != journal.Waiting {
			r := resultOf(h, run.Time)
			switch run.Verb {
			case "reboot":
				r.Waited = &results.Waited{Failed: "not back"}
			case "put", "get":
				if slices.Contains(run.Args, "--check") {
					r.Differs = r.Outcome == fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1}
					break
				}
				r.Copied = new(fleetssh.CopyResult) // the counts are not recorded
			}
			t.Results = append(t.Results, r)
		}
	}
	return t
}

// Lines yields the lines that the hosts of a run wrote. It joins the pieces of long lines.
func Lines(run *journal.Run) iter.Seq2[journal.Line, error] {
	type stream struct {
		index int
		name  string
	}
	return func(yield func(journal.Line, error) bool) {
		pieces := make(map[stream]string)
		for line, err := range run.Output() {
			of := stream{line.Index, line.Stream}
			if err == nil && line.Partial {
				pieces[of] += line.Text
				continue
			}
			line.Text = pieces[of] + line.Text
			delete(pieces, of)
			if !yield(line, err) {
				return
			}
		}
		for of, text := range pieces { // the end of the line was not recorded
			if !yield(journal.Line{Index: of.index, Stream: of.name, Text: text, Partial: true}, nil) {
				return
			}
		}
	}
}

// Indexes returns the indexes of hosts.
func Indexes(hosts []journal.HostRun) []int {
	indexes := make([]int, len(hosts))
	for i := range hosts {
		indexes[i] = hosts[i].Index
	}
	return indexes
}

// Notes returns sentences about a run that is in progress, was killed, or is not fully recorded.
func Notes(run *journal.Run) []string {
	var notes []string
	switch run.State {
	case journal.UnderWay:
		notes = append(notes, "The run is still running.")
	case journal.Interrupted:
		notes = append(notes, "fleetssh was killed during the run: the outcome of hosts that had started and have no result is unknown.")
	}
	if run.Partial {
		notes = append(notes, "The record is incomplete: hosts without a record may have run as well.")
	}
	return notes
}

// fromMilliseconds is the inverse of milliseconds.
func fromMilliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
