package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startOf returns the start of a run on a number of hosts.
func startOf(hosts int) Start {
	s := Start{Time: time.Now(), Command: "uptime", Args: []string{"--timeout", "30s"}}
	for i := range hosts {
		s.Hosts = append(s.Hosts, Host{Name: fmt.Sprintf("web%d", i+1)})
	}
	return s
}

// create begins to record a run in the directory.
func create(t testing.TB, dir string, start Start) *Writer {
	t.Helper()
	w, err := Create(dir, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(Summary{}) })
	return w
}

// open reads a run.
func open(t testing.TB, dir, name string) *Run {
	t.Helper()
	run, err := Open(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// outcomes returns the recorded outcome of each host.
func outcomes(run *Run) []string {
	var all []string
	for i := range run.Hosts {
		all = append(all, run.Hosts[i].Result.Outcome)
	}
	return all
}

// A login shell or a script is read back as it was recorded, whatever its arguments contain.
func TestProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, program := range []Program{{}, {LoginShell: true}, {Script: "abc", ScriptArgs: [][]byte{[]byte("a b"), {}, {0xff, 0, '\n'}}}} {
		start := startOf(1)
		start.Program = program
		w := create(t, dir, start)
		check(t, w.HostStarted(0), w.Close(Summary{}))
		if got := open(t, dir, w.ID()).Program; !reflect.DeepEqual(got, program) {
			t.Errorf("%+v, want %+v", got, program)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "runs")
	start := startOf(3)
	start.Hosts[1] = Host{Name: "2001:db8::1", User: "alice", Port: 2222, Label: "[2001:db8::1]:2222"}
	start.Verb, start.Words = "put", []string{"/a b", "c/"}
	w := create(t, dir, start)
	failure := &Failure{Kind: "connection", Phase: "connect", Message: "connect web3:22: refused", Reason: "refused", Hint: "is sshd there?"}
	check(t,
		w.HostStarted(0), w.HostStarted(1),
		w.Output(0, "stdout", "<hello> & \x1b[31m", false), w.Output(1, "stderr", "not \xff text", true), w.Output(0, "stdout", "", false),
		w.HostFinished(0, Result{Outcome: "exited", ExitCode: 3, Attempts: 1, ConnectMS: 1.5, RunMS: 2}),
		w.HostFinished(2, Result{Outcome: "unreachable", Phase: "connect", Error: failure}))
	if run := open(t, dir, "last"); run.State != UnderWay || !slices.Equal(outcomes(run), []string{"exited", Running, "unreachable"}) {
		t.Errorf("while running: %s %v", run.State, outcomes(run))
	}
	check(t, w.HostFinished(1, Result{Outcome: "signaled", Signal: "KILL"}), w.Block(1, []int{0, 2}),
		w.Batch(Batch{Number: 1, Batches: 1, Hosts: 3, Failed: 3, ElapsedMS: 1000}),
		w.Gate(Gate{Batch: 1, Batches: 1, Where: OnHosts, Command: "true", Hosts: 3, Failed: Ranges([]int{0, 2}), Output: strings.Repeat("x", 2*maxText), ElapsedMS: 500}),
		w.Close(Summary{Hosts: 3, Failed: 3, ElapsedMS: 1500, ExitCode: 4}), w.Close(Summary{}))

	run := open(t, dir, w.ID())
	if run.State != Ended || run.Partial || run.Failed != 3 || run.OK != 0 || run.ExitCode != 4 || run.Elapsed != 1500*time.Millisecond {
		t.Errorf("%+v", run.Info)
	}
	if run.Command != "uptime" || !slices.Equal(run.Args, start.Args) || run.Hosts[1].Host != start.Hosts[1] || run.Hosts[1].DisplayName() != "[2001:db8::1]:2222" {
		t.Errorf("%q %q %+v", run.Command, run.Args, run.Hosts[1])
	}
	if run.Verb != start.Verb || !slices.Equal(run.Words, start.Words) {
		t.Errorf("%q %q", run.Verb, run.Words)
	}
	if run.Hosts[0].Block != 1 || run.Hosts[1].Block != 0 || run.Hosts[2].Block != 1 {
		t.Errorf("blocks: %+v", run.Hosts)
	}
	if got := run.Hosts[2].Result.Error; got == nil || got.Hint != failure.Hint || run.Hosts[2].Ended.IsZero() || !run.Hosts[2].Began.IsZero() {
		t.Errorf("%+v", run.Hosts[2])
	}
	if len(run.Batches) != 1 || run.Batches[0].Failed != 3 || run.Batches[0].Elapsed() != time.Second {
		t.Errorf("batches: %+v", run.Batches)
	}
	if g := run.Gates; len(g) != 1 || g[0].Elapsed() != time.Second/2 || !slices.Equal(g[0].FailedHosts(), []int{0, 2}) || len(g[0].Output) > maxText+100 {
		t.Errorf("gates: %+v", run.Gates)
	}
	var lines []Line
	for line, err := range run.Output() {
		check(t, err)
		lines = append(lines, line)
	}
	want := []Line{{0, "stdout", "<hello> & \x1b[31m", false}, {1, "stderr", "not \xff text", true}, {0, "stdout", "", false}}
	if !slices.Equal(lines, want) {
		t.Errorf("output %+v", lines)
	}
	list, err := List(dir)
	check(t, err)
	if len(list) != 1 || list[0] != run.Info {
		t.Errorf("list %+v\nrun  %+v", list, run.Info)
	}
}

// Only the owner may read the journal and the output.
func TestModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "runs")
	w := create(t, dir, startOf(1))
	check(t, w.HostStarted(0), w.Output(0, "stdout", "secret", false), w.HostFinished(0, Result{Outcome: "exited"}))
	for _, name := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 2 {
		t.Errorf("files: %q", files)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestDir(t *testing.T) {
	t.Setenv("HOME", "/home/alice")
	for state, want := range map[string]string{
		"":         "/home/alice/.local/state/fleetssh/runs",
		"relative": "/home/alice/.local/state/fleetssh/runs",
		"/var/x":   "/var/x/fleetssh/runs",
	} {
		t.Setenv("XDG_STATE_HOME", state)
		if got, err := Dir(); got != want || err != nil {
			t.Errorf("%q: %s %v", state, got, err)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	if dir, err := Dir(); err == nil {
		t.Errorf("without a home: %s", dir)
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := create(t, dir, startOf(80))
	long := strings.Repeat("x", 300<<10)
	for i := range 79 {
		for range 4 {
			check(t, w.Output(i, "stdout", long, false))
		}
	}
	check(t, w.Output(79, "stdout", strings.Repeat("y", maxPiece+1), false))
	for i := range 80 {
		check(t, w.HostFinished(i, Result{Outcome: "exited"}))
	}
	check(t, w.Close(Summary{}))
	run := open(t, dir, "last")
	bytesOf := make([]int, len(run.Hosts))
	total := 0
	for line, err := range run.Output() {
		check(t, err)
		bytesOf[line.Index] += len(line.Text)
		total += len(line.Text)
	}
	if total > maxOutput || total < maxOutput/2 {
		t.Errorf("%d bytes kept in total", total)
	}
	for i, n := range bytesOf {
		if n > maxHostOutput || run.Hosts[i].Result.Cut != (n < 4*len(long)) && i < 79 {
			t.Errorf("host %d: %d bytes, cut %v", i, n, run.Hosts[i].Result.Cut)
		}
	}
}

// A long line is recorded in pieces: all but the last are marked as partial.
func TestLongLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := create(t, dir, startOf(1))
	long := strings.Repeat("ü", maxPiece)[1:] // pieces end within a character
	check(t, w.Output(0, "stdout", long, false), w.HostFinished(0, Result{Outcome: "exited"}), w.Close(Summary{}))
	var got bytes.Buffer
	var last Line
	for line, err := range open(t, dir, "last").Output() {
		check(t, err)
		got.WriteString(line.Text)
		last = line
	}
	if got.String() != long || last.Partial {
		t.Errorf("%d bytes, want %d; partial %v", got.Len(), len(long), last.Partial)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var ids []string
	begun := time.Date(2026, 9, 22, 18, 0, 0, 0, time.UTC)
	for i := range 3 {
		start := startOf(1)
		start.Time = begun.Add(time.Duration(i) * time.Minute)
		w := create(t, dir, start)
		check(t, w.Close(Summary{}))
		ids = append(ids, w.ID())
	}
	random := func(i int) string { return ids[i][len(ids[i])-6:] }
	for name, want := range map[string]int{
		"last": 2, "last-0": 2, "last-1": 1, "last-2": 0, "last~0": 2, "last~1": 1, "last~2": 0,
		ids[1]: 1, ids[0][:13]: 0, random(1): 1, random(2)[:5]: 2,
	} {
		if run, err := Open(dir, name); err != nil || run.ID != ids[want] {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, reason := range map[string]string{
		"last-3": "only 3 runs are recorded", "last~3": "only 3 runs are recorded", "last-": "no such run", "last~": "no such run", "last--1": "no such run", "last-99999999999": "no such run", "lasting": "no such run", "last+1": "no such run",
		"": "no such run", "20": "no such run", "2026": "3 runs match", "../../x": "no such run",
	} {
		_, err := Open(dir, name)
		e, ok := errors.AsType[*NameError](err)
		if !ok || e.Reason != reason {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := Open(dir, ids[1][:14]+"9")
	if e, ok := errors.AsType[*NameError](err); !ok || len(e.Near) == 0 || e.Near[0] != ids[1] {
		t.Errorf("nearest: %v", err)
	}
	for _, name := range []string{"nosuch", "lst", "2", "x" + ids[1]} {
		_, err := Open(dir, name)
		if e, ok := errors.AsType[*NameError](err); !ok || len(e.Near) > 0 {
			t.Errorf("%s: near is %v", name, err)
		}
	}
	if _, err := Open(t.TempDir(), "last"); err == nil || !strings.Contains(err.Error(), "no run has been recorded yet") {
		t.Errorf("empty: %v", err)
	}
	if runs, err := List(filepath.Join(dir, "none")); err != nil || runs != nil {
		t.Errorf("no directory: %v %v", runs, err)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	run := &Run{}
	for i, r := range []Result{
		{Outcome: "exited"}, {Outcome: "exited", ExitCode: 1}, {Outcome: "timed_out", Stopped: true}, {Outcome: "timed_out"},
		{Outcome: "lost"}, {Outcome: Unknown}, {Outcome: "skipped"}, {Outcome: "unreachable"}, {Outcome: Running}, {Outcome: Waiting},
		{Outcome: "cancelled", Phase: "auth"}, {Outcome: "cancelled"}, {Outcome: "not_started"}, {Outcome: "something newer"},
	} {
		run.Hosts = append(run.Hosts, HostRun{Index: i, Result: r})
	}
	for class, want := range map[string][]int{
		"all": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, "ok": {0}, "failed": {1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13},
		"timed-out": {2, 3}, "timed_out": {2, 3}, "unknown": {5}, "lost": {4}, "skipped": {6}, "exited": {0, 1},
		"unreachable": {7}, "cancelled": {10, 11}, "not_started": {12},
	} {
		hosts, err := run.Select(class)
		check(t, err)
		var got []int
		for _, h := range hosts {
			got = append(got, h.Index)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", class, got, want)
		}
	}
	if _, err := run.Select("fast"); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("unknown class: %v", err)
	}
	var uncertain []int
	for i := range run.Hosts {
		if run.Hosts[i].Result.Uncertain() {
			uncertain = append(uncertain, i)
		}
	}
	if want := []int{3, 4, 5, 8, 11, 13}; !slices.Equal(uncertain, want) {
		t.Errorf("uncertain: %v, want %v", uncertain, want)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var ids []string
	for i := range 6 {
		start := startOf(1)
		start.Time = begun.Add(time.Duration(i) * time.Hour)
		w := create(t, dir, start)
		check(t, w.HostStarted(0), w.Output(0, "stdout", strings.Repeat("x", 1000), false), w.HostFinished(0, Result{Outcome: "exited"}))
		if i != 1 { // run 1 is still running
			check(t, w.Close(Summary{}))
		}
		ids = append(ids, w.ID())
	}
	os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("not ours"), 0o600)
	left := func() []string {
		runs, err := List(dir)
		check(t, err)
		var left []string
		for _, run := range runs {
			left = append(left, run.ID)
		}
		return left
	}
	// A process that another test starts has the descriptors of closed journals, and with them the
	// locks, until it executes its program.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	prune(dir, ids[5], 4, 1<<20)
	if want := []string{ids[1], ids[3], ids[4], ids[5]}; !slices.Equal(left(), want) {
		t.Errorf("by number: %q, want %q", left(), want)
	}
	prune(dir, ids[5], 200, 3500)
	if want := []string{ids[1], ids[5]}; !slices.Equal(left(), want) {
		t.Errorf("by size: %q, want %q", left(), want)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 5 {
		t.Errorf("files left: %q", files)
	}
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := Create(filepath.Join(file, "runs"), startOf(1)); err == nil || !strings.Contains(err.Error(), "record of the run: ") {
		t.Errorf("%v", err)
	}
}

// The time to record a run must be small compared with the run itself.
func BenchmarkFiveThousandHosts(b *testing.B) {
	start := startOf(5000)
	for b.Loop() {
		w, err := Create(b.TempDir(), start)
		check(b, err)
		for i := range start.Hosts {
			check(b, w.HostStarted(i), w.Output(i, "stdout", "a line of output", false), w.HostFinished(i, Result{Outcome: "exited", Attempts: 1, ConnectMS: 12.345, RunMS: 6.789}))
		}
		check(b, w.Close(Summary{Hosts: 5000, OK: 5000}))
	}
}

func BenchmarkRead(b *testing.B) {
	start := startOf(5000)
	dir := b.TempDir()
	w, err := Create(dir, start)
	check(b, err)
	for i := range start.Hosts {
		check(b, w.HostStarted(i), w.HostFinished(i, Result{Outcome: "exited", Attempts: 1, ConnectMS: 12.345, RunMS: 6.789}))
	}
	check(b, w.Close(Summary{Hosts: 5000, OK: 5000}))
	for b.Loop() {
		open(b, dir, "last")
	}
}
