package results

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
	"fleetssh/internal/nearest"
	"fleetssh/internal/shellquote"
)

// Group is the hosts that failed in the same way.
type Group struct {
	Title  string
	rank   int
	Hosts  []int
	First  *Result // of the host with the lowest index
	Differ bool    // the reasons differ

	results []*Result // of hosts with a problem of their keys, by index
	Detail  []string  // more lines about the reason
	Hint    string
}

// Failures returns the hosts that failed, grouped by what went wrong.
func (t *Summary) Failures() []*Group {
	var groups []*Group
	type key struct{ title, kind string }
	byKey := make(map[key]*Group)
	for i := range t.Results {
		r := &t.Results[i]
		if r.OK {
			continue
		}
		title, rank := r.Title()
		w := key{title, r.Problem.Kind}
		if w.kind == "config" {
			w.kind += r.Problem.Reason // each needs its own correction
		}
		if k := r.Problem.Key; k != nil {
			w.kind += k.reason.String()
		}
		g := byKey[w]
		if g == nil {
			g = &Group{Title: title, rank: rank, First: r}
			byKey[w] = g
			groups = append(groups, g)
		}
		g.Differ = g.Differ || g.First.Problem.Reason != r.Problem.Reason
		if r.Index < g.First.Index {
			g.First = r
		}
		g.Hosts = append(g.Hosts, r.Index)
		if r.Problem.Key != nil {
			g.results = append(g.results, r)
		}
	}
	for _, g := range groups {
		g.Detail, g.Hint = g.First.Problem.Detail, g.First.Problem.Hint
		if g.Hint == excludeHint {
			g.Hint = t.excludeGroupHint(g)
		}
		if g.First.Problem.Kind == "unknown_host" && g.Hint == "" {
			g.Hint = t.nearestHint(g)
		}
		if len(g.results) > 0 {
			slices.SortFunc(g.results, func(a, b *Result) int { return a.Index - b.Index })
			g.Detail, g.Hint = t.keyDetail(g), t.keyHint(g)
		}
	}
	slices.SortFunc(groups, func(a, b *Group) int {
		return cmp.Or(a.rank-b.rank, a.First.Index-b.First.Index)
	})
	return groups
}

// excludeGroupHint returns how to run the command without the hosts of a group.
func (t *Summary) excludeGroupHint(g *Group) string {
	names := make([]string, len(g.Hosts))
	for i, index := range g.Hosts {
		names[i] = t.Hosts[index].Name
	}
	it := "it"
	if len(names) > 1 {
		it = "them"
	}
	return "-x " + shellquote.Quote(hostset.Of(names...).String()) + " leaves " + it + " out"
}

// nearestHint returns which known host the name of one that does not exist may mean.
func (t *Summary) nearestHint(g *Group) string {
	h := &t.Hosts[g.First.Index]
	if h.Flags == nil {
		return ""
	}
	hint := nearest.Hint(h.Flags.Nearest(h.Name))
	if hint != "" && len(g.Hosts) > 1 {
		hint = h.Name + ": " + hint
	}
	return hint
}

// Title returns how a host failed. A lower rank is more urgent.
func (r *Result) Title() (title string, rank int) {
	if r.Differs {
		return "differs", 8
	}
	if r.Copied != nil {
		if title, rank := r.copyTitle(); title != "" {
			return title, rank
		}
	}
	if r.Waited != nil && (r.Outcome.Kind == fleetssh.TimedOut || r.Outcome == fleetssh.Outcome{Kind: fleetssh.Cancelled}) {
		return r.Waited.Failed, 1
	}
	maybe := func(done, not string) string {
		if r.Outcome.Stopped {
			return done
		}
		return not
	}
	switch o := r.Outcome; o.Kind {
	case fleetssh.Cancelled:
		if !o.MayHaveRun() {
			return "stopped before the command started", 3
		}
		return maybe("stopped", "told to stop, may still run"), 0
	case fleetssh.TimedOut:
		return maybe("timed out and stopped", "timed out, may still run"), 1
	case fleetssh.Lost:
		return "lost, may have run", 2
	case fleetssh.Skipped:
		return "skipped", 4
	case fleetssh.Unreachable:
		return "unreachable (" + r.Problem.Phase + ")", 5
	case fleetssh.NotStarted:
		return "not started (" + r.Problem.Phase + ")", 6
	case fleetssh.Signaled:
		return "ended by signal " + o.Signal, 7
	default:
		return "exit code " + strconv.Itoa(o.ExitCode), 8
	}
}

// ShowFailures shows how many hosts failed, which ones and why, and which were skipped. It shows
// nothing if no host failed or was skipped.
func (t *Summary) ShowFailures(screen *termline.Screen) {
	headline := t.headline()
	if headline == "" {
		return
	}
	if t.Brief {
		t.showBriefly(screen)
		return
	}
	screen.Styled(termline.Span{Style: termline.Alarm, Text: "fleetssh: " + headline})
	for _, g := range t.Failures() {
		slices.Sort(g.Hosts)
		problem, rest := g.First.Problem, ""
		if problem.Reason != "" {
			rest += ": " + problem.Reason
		}
		if g.Differ {
			rest += " (first host; others differ)"
		}
		style := termline.Failure
		if g.First.Outcome.Kind == fleetssh.Skipped {
			style = termline.Plain
		}
		screen.Styled(termline.Span{Text: "  "}, termline.Span{Style: style, Text: g.Title}, termline.Span{Text: ": "},
			termline.Span{Style: termline.Heading, Text: t.Fold(g.Hosts)}, termline.Span{Text: rest})
		for _, detail := range g.Detail {
			screen.Message("    " + detail)
		}
		if problem.banner != "" {
			for _, line := range BannerLines(problem.banner) {
				screen.Message("    its banner: " + line)
			}
		}
		if g.Hint != "" {
			screen.Message("    hint: " + g.Hint)
		}
	}
}

// showBriefly shows the failed hosts, with one line for each group.
func (t *Summary) showBriefly(screen *termline.Screen) {
	for _, g := range t.Failures() {
		slices.Sort(g.Hosts)
		reason := g.First.Problem.Reason
		if reason != "" {
			reason = ": " + reason
		}
		screen.Styled(termline.Span{Text: fmt.Sprintf("%s (%d): ", t.Fold(g.Hosts), len(g.Hosts))},
			termline.Span{Style: termline.Failure, Text: g.Title}, termline.Span{Text: reason})
		if g.Hint != "" {
			screen.Message("  hint: " + g.Hint)
		}
	}
}
