package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// timeline is the chart of a run: how many hosts were done, had failed and were in progress at each
// time. Its height stands for all hosts, its width for the whole run.
type timeline struct {
	OK, Bad, Work string // the outlines of the stacked areas
	Ticks         []tick
	End           time.Duration
	Most          int           // the most hosts in progress at once
	Half, Nine    time.Duration // when 50 % and 90 % of the hosts were done
	All           time.Duration
}

type tick struct {
	X    int
	Side string // "first" for the leftmost
	Text string
}

const (
	chartWidth, chartHeight = 900, 220
	chartSteps              = 180
)

func newTimeline(hosts []Host, elapsed time.Duration) timeline {
	t := timeline{End: elapsed}
	var starts, good, bad []time.Duration
	for _, h := range hosts {
		t.End = max(t.End, h.To)
		if h.From == h.To && h.Class == Unclear {
			continue // it was not started
		}
		starts = append(starts, h.From)
		if h.Class == OK {
			good = append(good, h.To)
		} else {
			bad = append(bad, h.To)
		}
	}
	if len(starts) == 0 || t.End <= 0 {
		return timeline{}
	}
	done := slices.Concat(good, bad)
	for _, times := range [][]time.Duration{starts, good, bad, done} {
		slices.Sort(times)
	}
	t.Half, t.Nine, t.All = done[len(done)/2], done[len(done)*9/10], done[len(done)-1]
	var okTop, badTop, workTop []int
	for step := range chartSteps + 1 {
		now := time.Duration(float64(t.End) * float64(step) / chartSteps)
		okTop = append(okTop, before(good, now))
		badTop = append(badTop, okTop[step]+before(bad, now))
		workTop = append(workTop, max(before(starts, now), badTop[step]))
		t.Most = max(t.Most, workTop[step]-badTop[step])
	}
	floor := make([]int, len(okTop))
	t.OK = area(floor, okTop, len(hosts))
	t.Bad = area(okTop, badTop, len(hosts))
	t.Work = area(badTop, workTop, len(hosts))
	for i := range 5 {
		one := tick{X: chartWidth * i / 4, Text: seconds(t.End * time.Duration(i) / 4)}
		if i == 0 {
			one.Side, one.Text = "first", "0"
		}
		t.Ticks = append(t.Ticks, one)
	}
	return t
}

// before returns how many of the sorted times are not after now.
func before(times []time.Duration, now time.Duration) int {
	n, _ := slices.BinarySearch(times, now+1)
	return n
}

// area returns the outline of the area between two curves.
func area(low, high []int, all int) string {
	var b strings.Builder
	point := func(i, n int) {
		fmt.Fprintf(&b, "%.4g,%.4g ", float64(i)*chartWidth/chartSteps, chartHeight*(1-float64(n)/float64(all)))
	}
	for i, n := range high {
		point(i, n)
	}
	for i := range low {
		point(len(low)-1-i, low[len(low)-1-i])
	}
	return strings.TrimSpace(b.String())
}

// hostView is a host with the parts of its time.
type hostView struct {
	Host
	Took   time.Duration // the total, made up of:
	Linked time.Duration // connecting and logging in
	Waited time.Duration // waiting for a hop, between attempts, and for the command to start and end
	Ran    time.Duration // the command
	Parts  []part        // of the bar on the time axis, one for each of the three; empty: there is no bar
}

// part is a part of a bar, in percent of its length.
type part struct{ Class, X, Width string }

func newHostView(h *Host) hostView {
	v := hostView{Host: *h, Took: h.To - h.From}
	v.Linked = min(h.Connect, v.Took)
	v.Ran = min(h.Run, v.Took-v.Linked)
	if h.Class == Unclear && h.Run == 0 {
		v.Ran = v.Took - v.Linked // its end is not known
	}
	v.Waited = v.Took - v.Linked - v.Ran
	return v
}

// slowestOf returns the slowest hosts, the slowest first.
func slowestOf(hosts []Host, elapsed time.Duration) []hostView {
	worked := slices.DeleteFunc(slices.Clone(hosts), func(h Host) bool { return h.To == h.From })
	slices.SortStableFunc(worked, func(a, b Host) int { return cmp.Compare(b.To-b.From, a.To-a.From) })
	var out []hostView
	for i := range worked[:min(len(worked), slowest)] {
		v := newHostView(&worked[i])
		share := func(d time.Duration) string {
			return fmt.Sprintf("%.4g", 100*float64(d)/float64(max(elapsed, v.To, 1)))
		}
		v.Parts = []part{
			{"work", share(v.From), share(v.Linked)},
			{"wait", share(v.From + v.Linked), share(v.Waited)},
			{string(v.Class), share(v.To - v.Ran), share(v.Ran)},
		}
		out = append(out, v)
	}
	return out
}
