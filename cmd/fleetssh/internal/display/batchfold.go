package display

import (
	"fmt"
	"slices"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// BatchFold folds the output of one batch at a time, in addition to what the display of the run shows:
// for a user who decides on the next batch, and for a failed gate.
type BatchFold struct {
	foldDisplay
	from int // index of the first host of the batch
}

// NewBatchFold returns a fold for batches of the hosts of a summary.
func NewBatchFold(screen *termline.Screen, summary *results.Summary) *BatchFold {
	return &BatchFold{foldDisplay: foldDisplay{View: View{Screen: screen, Summary: summary}}}
}

// Begin begins a batch of size hosts, of which the first has the index from. It forgets the batch before.
func (d *BatchFold) Begin(from, size int) error {
	err := d.Close()
	d.from, d.fold, d.groups, d.failed = from, fold.New(size), nil, false
	return err
}

// Show adds a line.
func (d *BatchFold) Show(ev fleetssh.Event) {
	ev.Index -= d.from
	d.foldDisplay.Show(ev)
}

// Finished ends the output of a host.
func (d *BatchFold) Finished(r *results.Result) {
	status := ""
	if !r.OK {
		status, _ = r.Title()
	}
	d.fold.End(r.Index-d.from, status)
	d.groups = append(d.groups, d.fold.Complete()...)
}

// Close frees the output of the batch.
func (d *BatchFold) Close() error {
	if d.fold == nil {
		return nil
	}
	err := d.fold.Close()
	d.fold = nil
	return err
}

// maxBatchLines is how many lines of each group, and how many groups, are shown.
const maxBatchLines = 10

// ShowBatch shows the groups of the batch on standard error, the largest first. If failed is set, it
// shows only the groups of hosts that failed.
func (d *BatchFold) ShowBatch(failed bool) {
	groups := slices.Clone(d.groups)
	slices.SortStableFunc(groups, func(a, b fold.Group) int { return len(b.Hosts) - len(a.Hosts) })
	if failed {
		groups = slices.DeleteFunc(groups, func(g fold.Group) bool { return g.Status == "" })
	}
	for i, g := range groups {
		if i == maxBatchLines {
			left := 0
			for _, g := range groups[i:] {
				left += len(g.Hosts)
			}
			d.Screen.Message("  and " + selection.CountHosts(left) + " in smaller groups")
			break
		}
		d.showGroup(g)
	}
}

// Text returns what ShowBatch shows.
func (d *BatchFold) Text(failed bool) string {
	var text strings.Builder
	shown := d.Screen
	d.Screen = termline.New(&text, &text)
	d.ShowBatch(failed)
	d.Screen.Flush()
	d.Screen = shown
	return text.String()
}

// showGroup shows the hosts of a group, how they ended, and the first lines of both streams.
func (d *BatchFold) showGroup(g fold.Group) {
	hosts := make([]int, len(g.Hosts))
	for i, host := range g.Hosts {
		hosts[i] = host + d.from
	}
	g.Hosts = hosts
	_, title := d.title(g)
	style := termline.Heading
	if g.Status != "" {
		style = termline.Failure
	}
	d.Screen.Err(d.Screen.PaintErr(style, title), "")
	for _, stream := range []fold.Stream{fold.Stdout, fold.Stderr} {
		n := 0
		d.lines(g, stream, func(line string) {
			if n++; n <= maxBatchLines {
				d.Screen.Err("  ", line)
			}
		})
		if n > maxBatchLines {
			d.Screen.Message(fmt.Sprintf("  … and %d more lines", n-maxBatchLines))
		}
	}
}
