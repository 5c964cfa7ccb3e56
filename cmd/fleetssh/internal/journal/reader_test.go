package journal

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// knowledge is what a reader should know about a host.
type knowledge struct{ begun, ended bool }

// recorded returns the journal of a run with the events, and what is known after each of its
// lines, by the length of the file up to there. The first event of a host is its start, the
// second its end.
func recorded(t testing.TB, dir string, hosts int, events []int, closed bool) ([]byte, map[int][]knowledge) {
	t.Helper()
	w := create(t, dir, startOf(hosts))
	path := w.path(journalSuffix)
	known := make(map[int][]knowledge)
	now := make([]knowledge, hosts)
	note := func() {
		info, err := os.Stat(path)
		check(t, err)
		known[int(info.Size())] = slices.Clone(now)
	}
	note()
	for _, i := range events {
		if now[i].begun {
			check(t, w.HostFinished(i, Result{Outcome: "exited"}))
			now[i].ended = true
		} else {
			check(t, w.HostStarted(i))
			now[i].begun = true
		}
		note()
	}
	if closed {
		check(t, w.Close(Summary{Hosts: hosts}))
		note()
	}
	data, err := os.ReadFile(path)
	check(t, err)
	return data, known
}

// Wherever the file is cut, a reader knows what its complete lines say.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	data, known := recorded(t, t.TempDir(), 4, []int{0, 1, 0, 2, 1}, false)
	now := make([]knowledge, 4)
	for n := range len(data) + 1 {
		if k := known[n]; k != nil {
			now = k
		}
		run, err := readRun(bytes.NewReader(data[:n]), "x", false, false)
		check(t, err)
		if run.State != Interrupted {
			t.Fatalf("cut at %d: %s", n, run.State)
		}
		for i, h := range run.Hosts {
			if want := now[i].outcome("skipped"); h.Result.Outcome != want {
				t.Errorf("cut at %d: host %d is %s, want %s", n, i, h.Result.Outcome, want)
			}
		}
	}
}

// outcome returns the outcome that a reader should report; missing is the one of a host without
// events.
func (k knowledge) outcome(missing string) string {
	switch {
	case k.ended:
		return "exited"
	case k.begun:
		return Unknown
	}
	return missing
}

// Whatever the order of the events, and wherever the file is cut or damaged, no host that was
// started counts as skipped.
func TestRandomRuns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		hosts := rapid.SampledFrom([]int{1, 8, 2*hostsPerLine + 1}).Draw(rt, "hosts")
		steps := rapid.SliceOfN(rapid.IntRange(0, min(hosts, 8)-1), 0, 20).Draw(rt, "events")
		var events []int
		for _, i := range steps {
			if n := len(slices.DeleteFunc(slices.Clone(events), func(e int) bool { return e != i })); n < 2 {
				events = append(events, i) // once to begin, once to end
			}
		}
		dir, err := os.MkdirTemp(t.TempDir(), "")
		check(t, err)
		data, known := recorded(t, dir, hosts, events, rapid.Bool().Draw(rt, "closed"))
		at := rapid.IntRange(0, len(data)-1).Draw(rt, "at")
		var now []knowledge
		all := known[len(data)]
		if rapid.Bool().Draw(rt, "damage") {
			// After a crash, file systems leave blocks of zeros. The last newline stays, because a
			// line without it does not count as written.
			end := min(at+rapid.IntRange(1, 100).Draw(rt, "zeros"), len(data)-1)
			clear(data[min(at, end):end])
			damaged := at < end
			run, err := readRun(bytes.NewReader(data), "x", false, false)
			check(t, err)
			if damaged && !run.Partial {
				rt.Fatalf("damage from %d to %d was not detected", at, end)
			}
			for i, h := range run.Hosts {
				if all[i].begun && h.Result.Outcome == "skipped" {
					rt.Fatalf("host %d was started and counts as skipped", i)
				}
			}
			return
		}
		for n := range at + 1 {
			if k := known[n]; k != nil {
				now = k
			}
		}
		run, err := readRun(bytes.NewReader(data[:at]), "x", false, false)
		check(t, err)
		for i, h := range run.Hosts {
			if now == nil && h.Result.Outcome != "skipped" || now != nil && h.Result.Outcome != now[i].outcome("skipped") {
				rt.Fatalf("cut at %d: host %d is %s", at, i, h.Result.Outcome)
			}
		}
	})
}

const twoHosts = `{"type":"start","time":"2026-09-22T18:00:00Z","version":1,"run":"x","boot":"BOOT","command":"uptime","hosts":2}
{"type":"hosts","time":"2026-09-22T18:00:00Z","first":0,"list":[{"name":"web1"},{"name":"web2"}]}
{"type":"begin","time":"2026-09-22T18:00:01Z","index":0}
`

func TestReader(t *testing.T) {
	t.Parallel()
	const summary = `{"type":"summary","hosts":2}` + "\n"
	for _, test := range []struct {
		name, text string
		state      State
		partial    bool
		want       string
	}{
		{"killed", twoHosts, Interrupted, false, "unknown skipped"},
		{"last line cut", twoHosts + `{"type":"begin","ind`, Interrupted, false, "unknown skipped"},
		{"zeros after the end", twoHosts + "\x00\x00\x00\x00", Interrupted, false, "unknown skipped"},
		{"zeros and a line", twoHosts + "\x00\x00\x00\n", Interrupted, true, "unknown unknown"},
		{"garbled in the middle", strings.Replace(twoHosts, `"begin"`, `"beg\in"`, 1), Interrupted, true, "unknown unknown"},
		{"line too long", twoHosts + strings.Repeat("x", maxLine+1) + "\n" + summary, Ended, true, "unknown unknown"},
		{"index missing", twoHosts + `{"type":"begin"}` + "\n", Interrupted, true, "unknown unknown"},
		{"index beyond", twoHosts + `{"type":"result","index":2,"outcome":"exited"}` + "\n", Interrupted, true, "unknown unknown"},
		{"index below", twoHosts + `{"type":"begin","index":-1}` + "\n", Interrupted, true, "unknown unknown"},
		{"newer types", twoHosts + `{"type":"weather","index":"sunny"}` + "\n", Interrupted, false, "unknown skipped"},
		{"newer fields", twoHosts + `{"type":"result","index":0,"outcome":"exited","mood":{"good":true}}` + "\n", Interrupted, false, "exited skipped"},
		{"newer outcome", twoHosts + `{"type":"result","index":0,"outcome":"paused"}` + "\n" + summary, Ended, false, "paused skipped"},
		{"block beyond", twoHosts + `{"type":"block","number":1,"hosts":[[0,2]]}` + "\n", Interrupted, true, "unknown unknown"},
		{"block backwards", twoHosts + `{"type":"block","number":1,"hosts":[[1,1],[0,0]]}` + "\n", Interrupted, true, "unknown unknown"},
		{"block 0", twoHosts + `{"type":"block","number":0,"hosts":[[0,0]]}` + "\n", Interrupted, true, "unknown unknown"},
		{"block", twoHosts + `{"type":"block","number":1,"hosts":[[0,1]]}` + "\n", Interrupted, false, "unknown skipped"},
		{"batch and gate", twoHosts + `{"type":"batch","batch":1,"batches":2}` + "\n" + `{"type":"gate","batch":1,"where":"hosts","failed":[[0,1]]}` + "\n", Interrupted, false, "unknown skipped"},
		{"batch 0", twoHosts + `{"type":"batch","batch":0}` + "\n", Interrupted, true, "unknown unknown"},
		{"gate of no batch", twoHosts + `{"type":"gate","ok":true}` + "\n", Interrupted, true, "unknown unknown"},
		{"gate beyond", twoHosts + `{"type":"gate","batch":1,"failed":[[0,2]]}` + "\n", Interrupted, true, "unknown unknown"},
		{"gate backwards", twoHosts + `{"type":"gate","batch":1,"failed":[[1,1],[0,0]]}` + "\n", Interrupted, true, "unknown unknown"},
		{"machine rebooted", strings.Replace(twoHosts, "BOOT", "another", 1), Interrupted, true, "unknown unknown"},
		{"machine rebooted after the end", strings.Replace(twoHosts, "BOOT", "another", 1) + summary, Ended, false, "unknown skipped"},
		{"too many hosts", strings.Replace(twoHosts, `"hosts":2`, `"hosts":1`, 1), Interrupted, true, ""},
		{"absurd number of hosts", strings.Replace(twoHosts, `"hosts":2`, `"hosts":1e9`, 1), Interrupted, true, ""},
		{"second start", twoHosts + twoHosts, Interrupted, true, "unknown unknown"},
		{"absurd time", twoHosts + `{"type":"summary","elapsed_ms":1e300}` + "\n", Ended, false, "unknown skipped"},
		{"no start", "{}\n", Interrupted, true, ""},
		{"empty", "", Interrupted, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(test.text, "BOOT", bootID(), 1)
			run, err := readRun(strings.NewReader(text), "x", false, false)
			check(t, err)
			if got := strings.Join(outcomes(run), " "); run.State != test.state || run.Partial != test.partial || got != test.want {
				t.Errorf("%s, partial %v: %q", run.State, run.Partial, got)
			}
		})
	}
}

// The reader accepts every file, and its counts, indexes and times are consistent.
func FuzzRead(f *testing.F) {
	f.Add([]byte(twoHosts), false, false)
	f.Add([]byte(twoHosts+`{"type":"result","index":0,"outcome":"exited","error":{"kind":"lost"}}`+"\n"), true, false)
	f.Add([]byte(`{"type":"summary","elapsed_ms":-1}`+"\n"), false, true)
	f.Add([]byte(`{"type":"stdout","index":0,"data":"/w=="}`+"\n"), false, false)
	f.Fuzz(func(t *testing.T, data []byte, under, partial bool) {
		run, err := readRun(bytes.NewReader(data), "x", under, partial)
		if err != nil {
			t.Fatal(err)
		}
		if run.OK+run.Failed > len(run.Hosts) || len(run.Hosts) > run.Count || run.Elapsed < 0 {
			t.Fatalf("%+v", run.Info)
		}
		for _, class := range Classes {
			hosts, err := run.Select(class)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hosts {
				if h.Result.Outcome == "" || h.Index < 0 || h.Index >= len(run.Hosts) {
					t.Fatalf("%+v", h)
				}
				if class == "skipped" && partial && h.Ended.IsZero() && !bytes.Contains(data, []byte("skipped")) {
					t.Fatalf("host %d of a partial record is selected as skipped", h.Index)
				}
			}
		}
		for line, err := range readOutput(bytes.NewReader(data), len(run.Hosts)) {
			if err != nil || line.Index >= len(run.Hosts) {
				t.Fatalf("%+v %v", line, err)
			}
		}
	})
}
