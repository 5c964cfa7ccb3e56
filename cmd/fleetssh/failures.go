package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
	"fleetssh/internal/shellquote"
)

// failureGroup is a number of hosts that failed in the same way.
type failureGroup struct {
	title  string
	rank   int
	hosts  []int
	first  *result // in the order of the hosts
	differ bool    // others have other reasons

	results []*result // of hosts with a problem of their keys, in the order of the hosts
	detail  []string  // lines that say more
	hint    string
}

// failures returns the hosts that failed, by what went wrong.
func (t *tally) failures() []*failureGroup {
	var groups []*failureGroup
	type way struct{ title, kind string }
	byWay := make(map[way]*failureGroup)
	for i := range t.results {
		r := &t.results[i]
		if r.ok {
			continue
		}
		title, rank := r.title()
		w := way{title, r.problem.kind}
		if w.kind == "config" {
			w.kind += r.problem.reason // each is to be mended by itself
		}
		if k := r.problem.key; k != nil {
			w.kind += k.reason.String()
		}
		g := byWay[w]
		if g == nil {
			g = &failureGroup{title: title, rank: rank, first: r}
			byWay[w] = g
			groups = append(groups, g)
		}
		g.differ = g.differ || g.first.problem.reason != r.problem.reason
		if r.index < g.first.index {
			g.first = r
		}
		g.hosts = append(g.hosts, r.index)
		if r.problem.key != nil {
			g.results = append(g.results, r)
		}
	}
	for _, g := range groups {
		g.detail, g.hint = g.first.problem.detail, g.first.problem.hint
		if g.hint == leaveOut {
			g.hint = t.leaveOutHint(g)
		}
		if len(g.results) > 0 {
			slices.SortFunc(g.results, func(a, b *result) int { return a.index - b.index })
			g.detail, g.hint = t.keyDetail(g), t.keyHint(g)
		}
	}
	slices.SortFunc(groups, func(a, b *failureGroup) int {
		return cmp.Or(a.rank-b.rank, a.first.index-b.first.index)
	})
	return groups
}

// leaveOutHint says how to go on without the hosts of a group.
func (t *tally) leaveOutHint(g *failureGroup) string {
	names := make([]string, len(g.hosts))
	for i, index := range g.hosts {
		names[i] = t.hosts[index].Name
	}
	it := "it"
	if len(names) > 1 {
		it = "them"
	}
	return "-x " + shellquote.Quote(hostset.Of(names...).String()) + " leaves " + it + " out"
}

// title says how a host failed, and where it stands among the others: what may
// need care comes first.
func (r *result) title() (string, int) {
	if r.copied != nil {
		if title, rank := r.copyTitle(); title != "" {
			return title, rank
		}
	}
	maybe := func(done, not string) string {
		if r.outcome.Stopped {
			return done
		}
		return not
	}
	switch o := r.outcome; o.Kind {
	case fleetssh.Cancelled:
		if !o.MayHaveRun() {
			return "stopped before the command began", 3
		}
		return maybe("stopped", "told to stop, may still run"), 0
	case fleetssh.TimedOut:
		return maybe("timed out and stopped", "timed out, may still run"), 1
	case fleetssh.Lost:
		return "lost, may have run", 2
	case fleetssh.Skipped:
		return "never begun", 4
	case fleetssh.Unreachable:
		return "unreachable (" + r.problem.phase + ")", 5
	case fleetssh.NotStarted:
		return "not started (" + r.problem.phase + ")", 6
	case fleetssh.Signaled:
		return "ended by signal " + o.Signal, 7
	default:
		return "exit code " + strconv.Itoa(o.ExitCode), 8
	}
}

// showFailures says how many hosts failed, in which way, and which, and which were never
// begun. It says nothing if all is well.
func (t *tally) showFailures(screen *termline.Screen) {
	headline := t.headline()
	if headline == "" {
		return
	}
	if t.brief {
		t.showBriefly(screen)
		return
	}
	screen.Err(screen.PaintErr(termline.Trouble, "fleetssh: "+headline), "")
	for _, g := range t.failures() {
		slices.Sort(g.hosts)
		labels := make([]string, len(g.hosts))
		for i, index := range g.hosts {
			labels[i] = t.hosts[index].Label
		}
		line := "  " + g.title + ": " + hostset.Of(labels...).String()
		problem := g.first.problem
		if problem.reason != "" {
			line += ": " + problem.reason
		}
		if g.differ {
			line += " (the first; others differ)"
		}
		screen.Message(line)
		for _, detail := range g.detail {
			screen.Message("    " + detail)
		}
		if problem.banner != "" {
			for _, line := range bannerLines(problem.banner) {
				screen.Message("    it says: " + line)
			}
		}
		if g.hint != "" {
			screen.Message("    hint: " + g.hint)
		}
	}
}

// showBriefly says which hosts failed, a line for each way.
func (t *tally) showBriefly(screen *termline.Screen) {
	for _, g := range t.failures() {
		slices.Sort(g.hosts)
		labels := make([]string, len(g.hosts))
		for i, index := range g.hosts {
			labels[i] = t.hosts[index].Label
		}
		line := fmt.Sprintf("%s (%d): %s", hostset.Of(labels...), len(labels), g.title)
		if reason := g.first.problem.reason; reason != "" {
			line += ": " + reason
		}
		screen.Message(line)
		if g.hint != "" {
			screen.Message("  hint: " + g.hint)
		}
	}
}
