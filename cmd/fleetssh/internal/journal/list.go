package journal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// OneLine returns the beginning of the command, for a table.
func (i *Info) OneLine() string {
	const width = 60
	text := strings.Join(strings.Fields(i.Command), " ")
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// List returns the runs of a directory, the oldest first. A directory that does not exist has none.
func List(dir string) ([]Info, error) {
	names, err := journals(dir)
	if err != nil {
		return nil, err
	}
	var runs []Info
	for _, name := range names {
		info, err := readInfo(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process has just removed it
		}
		if err != nil {
			return nil, err
		}
		runs = append(runs, info)
	}
	return runs, nil
}

// journals returns the names of the journals of a directory, the oldest first.
func journals(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := idOf(e.Name()); ok && e.Type().IsRegular() && !strings.HasSuffix(e.Name(), outputSuffix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readInfo reads only the first and the last line if they suffice, and otherwise the whole file.
func readInfo(dir, name string) (Info, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return Info{}, err
	}
	defer file.Close()
	under, err := underWay(file)
	if err != nil {
		return Info{}, err
	}
	id, _ := idOf(name)
	partial := strings.HasSuffix(name, partialSuffix)
	summary := lastSummary(file)
	if summary == nil || under || partial {
		run, err := readRun(file, id, under, partial)
		if err != nil {
			return Info{}, fmt.Errorf("read %s: %w", file.Name(), err)
		}
		return run.Info, nil
	}
	r := newReader(id)
	for line, err := range linesOf(file) {
		r.garbled = err != nil || !r.line(line)
		break
	}
	info := r.run.Info
	info.State, info.Partial = Ended, r.garbled || !r.started
	info.OK, info.Skipped, info.ExitCode = summary.OK, summary.Outcomes["skipped"], summary.ExitCode
	info.Failed = max(summary.Hosts-info.OK-info.Skipped, 0) // older programs counted both as failed
	info.Elapsed = milliseconds(summary.ElapsedMS)
	return info, nil
}

// maxSummary is how many bytes from the end the summary is searched in.
const maxSummary = 4 << 10

// lastSummary returns the summary that the file ends with, nil if it does not.
func lastSummary(file *os.File) *Summary {
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	tail := make([]byte, min(info.Size(), maxSummary))
	if _, err := file.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return nil
	}
	tail, ended := bytes.CutSuffix(tail, []byte("\n"))
	if !ended {
		return nil
	}
	tail = tail[bytes.LastIndexByte(tail, '\n')+1:]
	var l summaryLine
	if json.Unmarshal(tail, &l) != nil || l.Type != "summary" {
		return nil
	}
	return &l.Summary
}

// underWay reports whether the run of a journal holds its lock.
func underWay(file *os.File) (bool, error) {
	free, err := tryLock(file, false)
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	if free {
		err = unlock(file)
	}
	return !free, err
}

// NameError is the error for a name that matches no run, or more than one.
type NameError struct {
	Name   string
	Reason string
	Near   []string // runs with similar names
}

// Error implements [error].
func (e *NameError) Error() string { return fmt.Sprintf("run %q: %s", e.Name, e.Reason) }

// Open reads a run. The name is the beginning of its ID or of what follows the hyphen there, of
// at least four characters; "last" for the latest run, or "last-1" (or "last~1") for the one before
// it, and so on. The error is a [*NameError] if not exactly one run matches.
func Open(dir, name string) (*Run, error) {
	names, err := journals(dir)
	if err != nil {
		return nil, err
	}
	file, err := find(names, name)
	if err != nil {
		return nil, err
	}
	return readFile(dir, file)
}

func readFile(dir, name string) (*Run, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) { // it has just been renamed to partial, or pruned
		file, err = os.Open(filepath.Join(dir, strings.TrimSuffix(name, journalSuffix)+partialSuffix))
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	under, err := underWay(file)
	if err != nil {
		return nil, err
	}
	id, _ := idOf(name)
	run, err := readRun(file, id, under, strings.HasSuffix(file.Name(), partialSuffix))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.Name(), err)
	}
	run.dir = dir
	return run, nil
}

// find returns the file name of the journal that a run name stands for.
func find(names []string, name string) (string, error) {
	if len(names) == 0 {
		return "", &NameError{Name: name, Reason: "no run has been recorded yet"}
	}
	if back, ok := nthLast(name); ok {
		if back >= len(names) {
			return "", &NameError{Name: name, Reason: fmt.Sprintf("only %d runs are recorded", len(names))}
		}
		return names[len(names)-1-back], nil
	}
	var found []string
	for _, n := range names {
		id, _ := idOf(n)
		_, random, _ := strings.Cut(id, "-")
		if id == name {
			return n, nil
		}
		if len(name) >= 4 && (strings.HasPrefix(id, name) || strings.HasPrefix(random, name)) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", &NameError{Name: name, Reason: "no such run", Near: similarRuns(names, name)}
	}
	return "", &NameError{Name: name, Reason: fmt.Sprintf("%d runs match", len(found)), Near: idsOf(found[max(0, len(found)-3):])}
}

// nthLast reads "last", "last-N" and, as with git, "last~N".
func nthLast(name string) (n int, ok bool) {
	rest, ok := strings.CutPrefix(name, "last")
	if !ok || rest == "" {
		return 0, ok
	}
	back, err := strconv.ParseUint(rest[1:], 10, 31)
	return int(back), err == nil && (rest[0] == '-' || rest[0] == '~')
}

// minPrefix is how long a common prefix must be for a run to be suggested.
const minPrefix = 3

// similarRuns returns up to three runs that share the longest prefix with name, the latest first.
func similarRuns(names []string, name string) []string {
	ids := slices.DeleteFunc(idsOf(names), func(id string) bool { return commonPrefix(id, name) < minPrefix })
	slices.Reverse(ids)
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(commonPrefix(b, name), commonPrefix(a, name)) })
	return ids[:min(len(ids), 3)]
}

// commonPrefix returns the length of the prefix that a name shares with an ID or its random part.
func commonPrefix(id, name string) int {
	common := func(a, b string) int {
		n := 0
		for n < min(len(a), len(b)) && a[n] == b[n] {
			n++
		}
		return n
	}
	_, random, _ := strings.Cut(id, "-")
	return max(common(id, name), common(random, name))
}

func idsOf(names []string) []string {
	ids := make([]string, len(names))
	for i, name := range names {
		ids[i], _ = idOf(name)
	}
	return ids
}
