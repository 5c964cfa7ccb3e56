package record

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fleetssh/cmd/fleetssh/internal/journal"
)

// The report of a run has what its hosts wrote beside their failures, its batches and gates with their
// times, and the command line that repeats it.
func TestReportOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begun := time.Now().Add(-10 * time.Second)
	w, err := journal.Create(dir, journal.Start{Time: begun, Command: "restart", Hosts: []journal.Host{{Name: "web1"}, {Name: "web2"}, {Name: "web3"}, {Name: "web4"}, {Name: "web5"}, {Name: "web6"}}})
	if err != nil {
		t.Fatal(err)
	}
	check := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, text := range []string{"", "conf missing", "conf missing", strings.Repeat("noise\n", 1000) + "the end", "a", "b"} {
		check(w.HostStarted(i), w.Output(i, "stdout", "out", false))
		for line := range strings.Lines(text) {
			check(w.Output(i, "stderr", strings.TrimSuffix(line, "\n"), false))
		}
		code := 0
		if i > 0 {
			code = 2
		}
		check(w.HostFinished(i, journal.Result{Outcome: "exited", ExitCode: code}))
	}
	check(
		w.Batch(journal.Batch{Number: 1, Batches: 2, Began: begun, Hosts: 1, OK: 1, ElapsedMS: 1000}),
		w.Gate(journal.Gate{Batch: 1, Where: journal.OnHosts, Command: "true", Hosts: 1, OK: true, Began: begun, ElapsedMS: 500}),
		w.Gate(journal.Gate{Batch: 1, Where: journal.OnThisMachine, Command: "ask", Hosts: 1, OK: true, Began: begun, ElapsedMS: 250}),
		w.Batch(journal.Batch{Number: 2, Batches: 2, Began: begun.Add(4 * time.Second), Hosts: 5, Failed: 5, ElapsedMS: 3000}),
		w.Gate(journal.Gate{Batch: 2, Where: journal.OnHosts, Command: "true", Hosts: 5, Failed: [][2]int{{1, 1}, {4, 5}}, Reason: "why", Output: "text", ElapsedMS: 500}),
		w.Close(journal.Summary{Hosts: 6, OK: 1, Failed: 5, ElapsedMS: 8000}))
	run, err := journal.Open(dir, w.ID())
	check(err)
	d, err := reportOf(run, true)
	check(err)
	if d.Rerun != "fleetssh rerun "+w.ID()+" --failed" {
		t.Errorf("rerun: %q", d.Rerun)
	}
	if scrap, err := reportOf(run, false); err != nil || scrap.Rerun != "" {
		t.Errorf("a record that is removed: %q, %v", scrap.Rerun, err)
	}
	said := d.Groups[0].Stderr
	if len(said) != maxStderrTexts || said[0].Hosts != "web[2-3]" || said[0].Count != 2 || said[0].Text != "conf missing\n" || said[0].More != 1 {
		t.Errorf("standard error: %+v", said)
	}
	if text := said[1].Text; !strings.HasSuffix(text, "noise\nthe end\n") || len(text) > maxStderr {
		t.Errorf("of much, %d bytes are shown: %q", len(text), text)
	}
	if d.Groups[1].Stderr != nil {
		t.Errorf("hosts that did not fail: %v", d.Groups[1].Stderr)
	}
	want := "[{1 1 1 0 0s 1s 750ms 2.25s} {2 5 0 5 4s 3s 500ms 500ms}]"
	if got := fmt.Sprint(d.Batches); got != want {
		t.Errorf("batches: %s, want %s", got, want)
	}
	if g := d.Gates[2]; len(d.Gates) != 3 || g.OK || g.Failed != "web[2,5-6]" || g.Count != 3 || g.Reason != "why" || g.Output != "text" || !d.Gates[1].Here {
		t.Errorf("gates: %+v", d.Gates)
	}
}
