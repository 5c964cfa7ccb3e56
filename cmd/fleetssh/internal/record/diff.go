package record

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// change is a difference between two runs, and its hosts.
type change struct {
	hosts  []string
	first  [2]int // the index of the first of them, in each run
	output bool
}

// ShowDiff shows the differences between two runs. Hosts with the same difference share a line.
func ShowDiff(screen *termline.Screen, before, after *journal.Run) error {
	sums, err := outputSums(before)
	if err != nil {
		return err
	}
	newSums, err := outputSums(after)
	if err != nil {
		return err
	}
	tallies := [2]*results.Summary{Summary(before), Summary(after)}
	titles := [2][]string{titlesOf(tallies[0]), titlesOf(tallies[1])}
	places := make(map[string]int)
	for i := range before.Hosts {
		places[TargetOf(&before.Hosts[i].Host)] = i
	}
	changes := make(map[string]*change)
	add := func(key, label string, first [2]int, output bool) {
		if changes[key] == nil {
			changes[key] = &change{first: first, output: output}
		}
		changes[key].hosts = append(changes[key].hosts, label)
	}
	for k := range after.Hosts {
		label := tallies[1].Hosts[k].Label
		i, found := places[TargetOf(&after.Hosts[k].Host)]
		if !found {
			add("only in "+after.ID, label, [2]int{}, false)
			continue
		}
		delete(places, TargetOf(&after.Hosts[k].Host))
		if titles[0][i] != titles[1][k] {
			add(titles[0][i]+" -> "+titles[1][k], label, [2]int{}, false)
		}
		if sums[i] != newSums[k] {
			add(fmt.Sprintf("output\x00%x%x", sums[i], newSums[k]), label, [2]int{i, k}, true)
		}
	}
	for _, i := range places {
		add("only in "+before.ID, tallies[0].Hosts[i].Label, [2]int{}, false)
	}
	if cut := cutOutputs(before, after); cut != "" {
		// The unrecorded rest may differ.
		screen.Message("fleetssh: only the beginning of the output was recorded for " + cut)
	}
	if len(changes) == 0 {
		screen.Message("fleetssh: no recorded outcome or output has changed")
		return nil
	}
	return showChanges(screen, changes, before, after)
}

// cutOutputs returns the hosts with truncated output.
func cutOutputs(runs ...*journal.Run) string {
	var labels []string
	for _, run := range runs {
		t := Summary(run)
		for i := range run.Hosts {
			if run.Hosts[i].Result.Cut {
				labels = append(labels, t.Hosts[i].Label)
			}
		}
	}
	if len(labels) == 0 {
		return ""
	}
	hosts := hostset.Of(labels...)
	return fmt.Sprintf("%s (%d)", hosts, hosts.Len())
}

// maxChanges is the largest number of differences of output that are shown in full.
const maxChanges = 20

// showChanges shows changes of outcomes first, then changes of output, the most common first.
func showChanges(screen *termline.Screen, changes map[string]*change, before, after *journal.Run) error {
	keys := slices.SortedFunc(maps.Keys(changes), func(a, b string) int {
		x, y := changes[a], changes[b]
		return cmp.Or(boolOrder(x.output, y.output), len(y.hosts)-len(x.hosts), strings.Compare(a, b))
	})
	var wanted [2][]int
	for _, key := range keys {
		if x := changes[key]; x.output && len(wanted[0]) < maxChanges {
			wanted[0], wanted[1] = append(wanted[0], x.first[0]), append(wanted[1], x.first[1])
		}
	}
	old, err := outputsOf(before, wanted[0])
	if err != nil {
		return err
	}
	now, err := outputsOf(after, wanted[1])
	if err != nil {
		return err
	}
	shown := 0
	for _, key := range keys {
		x := changes[key]
		title := key
		if x.output {
			title = "output"
		}
		screen.Out("", fmt.Sprintf("%s: %s (%d)", title, hostset.Of(x.hosts...), len(x.hosts)))
		if !x.output || shown == maxChanges {
			continue
		}
		shown++
		for line := range strings.Lines(udiff.Unified(before.ID, after.ID, old[x.first[0]], now[x.first[1]])) {
			screen.Out("  ", strings.TrimSuffix(line, "\n"))
		}
	}
	return nil
}

// boolOrder puts false before true.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// titlesOf returns how each host ended.
func titlesOf(t *results.Summary) []string {
	titles := make([]string, len(t.Hosts))
	for i := range titles {
		titles[i] = "not finished"
	}
	for i := range t.Results {
		if r := &t.Results[i]; r.OK {
			titles[r.Index] = "ok"
		} else {
			titles[r.Index], _ = r.Title()
		}
	}
	return titles
}

// outputSums returns a hash of the output of each host.
func outputSums(run *journal.Run) ([][sha256.Size]byte, error) {
	hashes := make([]hash.Hash, len(run.Hosts))
	for line, err := range Lines(run) {
		if err != nil {
			return nil, fmt.Errorf("record of the output: %w", err)
		}
		if hashes[line.Index] == nil {
			hashes[line.Index] = sha256.New()
		}
		fmt.Fprintf(hashes[line.Index], "%s %d %s\n", line.Stream, len(line.Text), line.Text)
	}
	sums := make([][sha256.Size]byte, len(run.Hosts))
	for i, h := range hashes {
		if h != nil {
			h.Sum(sums[i][:0])
		}
	}
	return sums, nil
}

// outputsOf returns the output of some hosts, by index.
func outputsOf(run *journal.Run, hosts []int) (map[int]string, error) {
	texts := make(map[int]*strings.Builder)
	for _, i := range hosts {
		texts[i] = new(strings.Builder)
	}
	for line, err := range Lines(run) {
		if err != nil {
			return nil, fmt.Errorf("record of the output: %w", err)
		}
		if b := texts[line.Index]; b != nil {
			if line.Stream == "stderr" {
				b.WriteString("[stderr] ")
			}
			b.WriteString(line.Text + "\n")
		}
	}
	out := make(map[int]string)
	for i, b := range texts {
		out[i] = b.String()
	}
	return out, nil
}
