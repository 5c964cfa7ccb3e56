package record

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// recordedRun records a run on hosts that write these lines, and exit with 3 if a line says "bad". blocks
// are the hosts of blocks that the run has shown.
func recordedRun(t *testing.T, lines []string, blocks ...[]int) *journal.Run {
	t.Helper()
	dir := t.TempDir()
	start := journal.Start{Time: time.Now(), Command: "x"}
	for i := range lines {
		start.Hosts = append(start.Hosts, journal.Host{Name: fmt.Sprintf("web%d", i+1)})
	}
	w, err := journal.Create(dir, start)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lines {
		r := journal.Result{Outcome: "exited"}
		if line == "bad" {
			r.ExitCode = 3
		}
		if line != "" {
			if err := w.Output(i, "stdout", line, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.HostFinished(i, r); err != nil {
			t.Fatal(err)
		}
	}
	for n, hosts := range blocks {
		if err := w.Block(n+1, hosts); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(journal.Summary{Hosts: len(lines)}); err != nil {
		t.Fatal(err)
	}
	run, err := journal.Open(dir, "last")
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestHostsOfBlock(t *testing.T) {
	t.Parallel()
	lines := []string{"a", "b", "b", "", "bad"}
	for _, test := range []struct {
		name      string
		blocks    [][]int
		condition string
		want      string
	}{
		{"by size", nil, "block=1", "web[2-3]"},
		{"then by the first host", nil, "block=2", "web1"},
		{"failed", nil, "block=3", "web5"},
		{"without output", nil, "block=4", "block=4: the run has 3 blocks"},
		{"as shown", [][]int{{4}, {0}, {1, 2}}, "block=1", "web5"},
		{"as shown, the last", [][]int{{4}, {0}, {1, 2}}, "block=3", "web[2-3]"},
		{"zero", nil, "block=0", `block=0: "0" is not the number of a block`},
		{"not a number", nil, "block=x", `block=x: "x" is not the number of a block`},
		{"empty", nil, "block=", `block=: "" is not the number of a block`},
	} {
		hosts, err := selectHosts(recordedRun(t, lines, test.blocks...), test.condition)
		got := Targets(hosts).String()
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if _, err := selectHosts(recordedRun(t, []string{""}), "block=1"); err == nil || !strings.Contains(err.Error(), "no output was recorded") {
		t.Error(err)
	}
}

// The numbers that are shown are the numbers that are understood.
func TestShowBlocks(t *testing.T) {
	t.Parallel()
	run := recordedRun(t, []string{"a", "b", "b", "", "bad"})
	var out bytes.Buffer
	screen := termline.New(&out, &out)
	if err := ShowBlocks(screen, run, Summary(run)); err != nil {
		t.Fatal(err)
	}
	screen.Flush()
	const rule = "---------------"
	want := strings.Join([]string{
		rule + " block 1", "web[2-3] (2)", rule, "b", rule + " block 2", "web1 (1)", rule, "a",
		rule + " block 3", "web5 (1): exit code 3", rule, "bad", "",
	}, "\n")
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}
