package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"time"
)

// reader builds a run from the lines of its journal.
type reader struct {
	run     *Run
	started bool
	boot    string
	garbled bool // a line that was written whole cannot be read
	summary *Summary
}

func newReader(id string) *reader { return &reader{run: &Run{Info: Info{ID: id, Time: timeOf(id)}}} }

// readRun reads a journal, as far as it can be parsed. under says that the run is in progress.
// The error is about reading the file, not about its content.
func readRun(from io.Reader, id string, under, partial bool) (*Run, error) {
	r := newReader(id)
	for line, err := range linesOf(from) {
		if err != nil {
			return nil, err
		}
		if !r.line(line) {
			r.garbled = true
		}
	}
	r.finish(under, partial)
	return r.run, nil
}

// linesOf yields the complete lines of a file, without their newlines, and nil for a line that is
// too long. An incomplete last line is dropped.
func linesOf(from io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		buffered := bufio.NewReaderSize(from, maxLine)
		tooLong := false
		for {
			line, err := buffered.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				tooLong = true
				continue
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(nil, err)
				return
			}
			line = line[:len(line)-1]
			if tooLong {
				line, tooLong = nil, false
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}

// line adds a line, and reports whether it is valid.
func (r *reader) line(line []byte) bool {
	var h struct {
		head
		Index json.RawMessage `json:"index"` // of any type, in lines of newer programs
	}
	if json.Unmarshal(line, &h) != nil || h.Type == "" {
		return false
	}
	switch h.Type {
	case "start":
		var l startLine
		if r.started || json.Unmarshal(line, &l) != nil || l.Hosts < 0 || l.Hosts > maxHosts {
			return false
		}
		r.start(&l)
	case "hosts":
		var l hostsLine
		if json.Unmarshal(line, &l) != nil || l.First != len(r.run.Hosts) || len(l.List) > r.run.Count-l.First {
			return false
		}
		for i, h := range l.List {
			r.run.Hosts = append(r.run.Hosts, HostRun{Index: l.First + i, Host: h})
		}
	case "begin":
		var l beginLine
		if h.Index == nil || json.Unmarshal(line, &l) != nil || r.host(l.Index) == nil {
			return false
		}
		r.host(l.Index).Began = l.Time
	case "result":
		var l resultLine
		if h.Index == nil || json.Unmarshal(line, &l) != nil || r.host(l.Index) == nil || l.Outcome == "" {
			return false
		}
		host := r.host(l.Index)
		host.Ended, host.Result = l.Time, l.Result
	case "block":
		var l blockLine
		if json.Unmarshal(line, &l) != nil || l.Number < 1 {
			return false
		}
		return r.block(&l)
	case "batch":
		var l batchLine
		return json.Unmarshal(line, &l) == nil && r.batch(&l)
	case "gate":
		var l gateLine
		return json.Unmarshal(line, &l) == nil && r.gate(&l)
	case "summary":
		var l summaryLine
		if json.Unmarshal(line, &l) != nil {
			return false
		}
		r.summary = &l.Summary
	}
	return true
}

func (r *reader) start(l *startLine) {
	r.started, r.boot = true, l.Boot
	r.run.Time, r.run.Command, r.run.Args, r.run.Count = l.Time, l.Command, l.Args, l.Hosts
	r.run.Program, r.run.Settings = l.Program, l.Settings
	r.run.Verb, r.run.Words = l.Verb, l.Words
}

// block sets the block of hosts. It reports whether the ranges are valid: ascending, and of known hosts.
func (r *reader) block(l *blockLine) bool {
	next := 0
	for _, hosts := range l.Hosts {
		if hosts[0] < next || hosts[1] < hosts[0] || r.host(hosts[1]) == nil {
			return false
		}
		next = hosts[1] + 1
		for i := hosts[0]; i < next; i++ {
			r.run.Hosts[i].Block = l.Number
		}
	}
	return true
}

// host returns host number i, nil if there is none.
func (r *reader) host(i int) *HostRun {
	if i < 0 || i >= len(r.run.Hosts) {
		return nil
	}
	return &r.run.Hosts[i]
}

// finish sets the outcomes of the hosts that have no result.
func (r *reader) finish(under, partial bool) {
	run := r.run
	run.State = Interrupted
	switch {
	case under:
		run.State = UnderWay
	case r.summary != nil:
		run.State = Ended
	}
	run.Partial = partial || r.garbled || !r.started || len(run.Hosts) < run.Count && run.State == Ended
	// After a crash of the machine, the last lines may never have reached the disk.
	if run.State == Interrupted && r.boot != bootID() {
		run.Partial = true
	}
	begun, missing := Unknown, "skipped"
	switch {
	case under && run.Partial:
		begun, missing = Running, Unknown
	case under:
		begun, missing = Running, Waiting
	case run.Partial:
		missing = Unknown
	}
	run.Elapsed = r.elapsed()
	for i := range run.Hosts {
		h := &run.Hosts[i]
		switch {
		case h.Result.Outcome != "":
		case !h.Began.IsZero():
			h.Result.Outcome = begun
		default:
			h.Result.Outcome = missing
		}
		switch {
		case h.OK():
			run.OK++
		case h.Result.Outcome == "skipped":
			run.Skipped++
		case h.Result.Outcome != Running && h.Result.Outcome != Waiting:
			run.Failed++
		}
	}
	if r.summary != nil {
		run.ExitCode = r.summary.ExitCode
	}
}

// elapsed returns how long the run took, as far as it is known.
func (r *reader) elapsed() time.Duration {
	if r.summary != nil {
		return milliseconds(r.summary.ElapsedMS)
	}
	var last time.Time
	for i := range r.run.Hosts {
		for _, t := range []time.Time{r.run.Hosts[i].Began, r.run.Hosts[i].Ended} {
			if t.After(last) {
				last = t
			}
		}
	}
	return max(0, last.Sub(r.run.Time))
}

// milliseconds converts a number in a journal to a duration. It tolerates any number.
func milliseconds(ms float64) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	if !(ms > 0) {
		return 0
	}
	return time.Duration(min(ms*1e6, float64(most)))
}

// readOutput yields the output of the hosts, in the order in which it arrived.
func readOutput(from io.Reader, hosts int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for text, err := range linesOf(from) {
			if err != nil {
				yield(Line{}, err)
				return
			}
			var l outputLine
			if json.Unmarshal(text, &l) != nil || l.Index < 0 || l.Index >= hosts || !slices.Contains([]string{"stdout", "stderr"}, l.Type) {
				continue
			}
			line := Line{Index: l.Index, Stream: l.Type, Text: l.Line, Partial: l.Partial}
			if l.Data != nil {
				line.Text = string(bytes.Clone(l.Data))
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}
