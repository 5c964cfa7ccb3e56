package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clipperhouse/displaywidth"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Outstanding tracks which hosts of a run are not done, and what each of them is doing.
type Outstanding struct {
	hosts   []selection.Host
	begun   time.Time
	Working func() []fleetssh.Progress // returns what each active host is doing; nil: not known

	mu              sync.Mutex // protects what follows
	ended           []bool
	done            int // hosts that have ended, with the failed ones and without the skipped ones
	failed, skipped int
}

// newOutstanding returns the state of a run that starts now.
func newOutstanding(hosts []selection.Host) *Outstanding {
	return &Outstanding{hosts: hosts, begun: time.Now(), ended: make([]bool, len(hosts))}
}

// hostFinished records the result of a host.
func (o *Outstanding) hostFinished(r *Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Index >= len(o.ended) || o.ended[r.Index] {
		return
	}
	o.ended[r.Index] = true
	switch {
	case r.Outcome.Kind == fleetssh.Skipped:
		o.skipped++
	case r.OK:
		o.done++
	default:
		o.done++
		o.failed++
	}
}

// inProgress returns what the active hosts are doing, the oldest first, and the hosts that have not
// started.
func (o *Outstanding) inProgress() (work []fleetssh.Progress, unbegun []int) {
	if o.Working != nil {
		work = o.Working()
	}
	begun := make(map[int]bool, len(work))
	o.mu.Lock()
	work = slices.DeleteFunc(work, func(p fleetssh.Progress) bool { return p.Index >= len(o.ended) || o.ended[p.Index] })
	for _, p := range work {
		begun[p.Index] = true
	}
	for i, ended := range o.ended {
		if !ended && !begun[i] {
			unbegun = append(unbegun, i)
		}
	}
	o.mu.Unlock()
	slices.SortStableFunc(work, func(a, b fleetssh.Progress) int { return a.Begun.Compare(b.Begun) })
	return work, unbegun
}

// Snapshot is the state of a run at one moment, for a status line.
type Snapshot struct {
	Total, Done, Failed, Skipped int // Done includes Failed
	Running                      int // hosts at work that are logged in to
	Waiting                      int // hosts that have not begun
	Elapsed                      time.Duration

	hosts *Outstanding
	work  []fleetssh.Progress // of the active hosts, the oldest first
	at    time.Time
}

// Snapshot returns the state of the run now.
func (o *Outstanding) Snapshot() Snapshot {
	work, unbegun := o.inProgress()
	now := time.Now()
	s := Snapshot{Total: len(o.hosts), Waiting: len(unbegun), Elapsed: now.Sub(o.begun), hosts: o, work: work, at: now}
	for i := range work {
		switch work[i].Phase {
		case fleetssh.PhaseRun, fleetssh.PhaseCopy:
			s.Running++
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Done, s.Failed, s.Skipped = o.done, o.failed, o.skipped
	return s
}

const (
	// stragglersShown is how many hosts the status line names. If more are active, it names only
	// those that have been active for stragglerAge.
	stragglersShown = 3
	stragglerAge    = 2 * time.Second
)

// Stragglers returns active hosts and what they are doing: all if there are few, otherwise the slowest.
// The text has at most width columns (zero: any number), and names fewer hosts if it must. It is empty
// if there are none, or none fits.
func (s *Snapshot) Stragglers(width int) string {
	work := s.work
	if len(work)+s.Waiting > stragglersShown {
		work = slices.DeleteFunc(slices.Clone(work), func(p fleetssh.Progress) bool { return s.at.Sub(p.Begun) < stragglerAge })
	}
	for n := min(len(work), stragglersShown); n > 0; n-- {
		text := s.stragglers(work[:n], len(work)-n)
		if width <= 0 || displaywidth.String(text) <= width {
			return text
		}
	}
	return ""
}

// stragglers names hosts, and says how many more there are.
func (s *Snapshot) stragglers(work []fleetssh.Progress, more int) string {
	var texts []string
	for _, g := range s.hosts.groups(work, s.at) {
		texts = append(texts, selection.FoldNames(g.labels)+" "+g.activity+" "+seconds(g.to))
	}
	if more > 0 {
		texts = append(texts, fmt.Sprint(more, " more"))
	}
	return strings.Join(texts, ", ")
}

// activityGroup is the hosts that do the same, and for how long: the shortest and the longest time.
type activityGroup struct {
	activity string
	labels   []string
	from, to time.Duration
}

// groups groups the hosts that do the same, in the order of their first hosts.
func (o *Outstanding) groups(work []fleetssh.Progress, now time.Time) []*activityGroup {
	var groups []*activityGroup
	byText := make(map[string]*activityGroup)
	for _, p := range work {
		text, since := Activity(p), now.Sub(p.Since)
		g := byText[text]
		if g == nil {
			g = &activityGroup{activity: text, from: since, to: since}
			byText[text] = g
			groups = append(groups, g)
		}
		g.labels = append(g.labels, o.hosts[p.Index].Label)
		g.from, g.to = min(g.from, since), max(g.to, since)
	}
	return groups
}

// Report shows the hosts that are not done, what they are doing, and for how long. Hosts that do the
// same share a line.
func (o *Outstanding) Report(screen *termline.Screen) {
	work, unbegun := o.inProgress()
	now := time.Now()
	groups := o.groups(work, now)
	slices.SortStableFunc(groups, func(a, b *activityGroup) int { return cmp.Compare(b.to, a.to) })
	o.mu.Lock()
	done := o.done
	o.mu.Unlock()
	screen.Message(fmt.Sprintf("fleetssh: %d of %s done after %s, %d in progress", done, selection.CountHosts(len(o.hosts)), seconds(now.Sub(o.begun)), len(work)))
	for _, g := range groups {
		since := seconds(g.to)
		if shortest := seconds(g.from); shortest != since {
			since = shortest + " to " + since
		}
		screen.Message(fmt.Sprintf("  %s for %s: %s", g.activity, since, CountedNames(g.labels)))
	}
	if len(unbegun) > 0 {
		labels := make([]string, len(unbegun))
		for i, host := range unbegun {
			labels[i] = o.hosts[host].Label
		}
		screen.Message("  waiting: " + CountedNames(labels))
	}
	screen.Flush()
}

// CountedNames formats labels as a host set, with their number if there are several.
func CountedNames(labels []string) string {
	text := selection.FoldNames(labels)
	if len(labels) > 1 {
		text += fmt.Sprintf(" (%d)", len(labels))
	}
	return text
}

// activities describe what a host is doing in a phase.
var activities = map[fleetssh.Phase]string{
	fleetssh.PhaseProxy: "waiting for its hop", fleetssh.PhaseResolve: "looking up its name", fleetssh.PhaseConnect: "connecting", fleetssh.PhaseHandshake: "exchanging keys",
	fleetssh.PhaseHostKey: "checking its key", fleetssh.PhaseAuth: "logging in", fleetssh.PhaseRetry: "waiting to retry", fleetssh.PhaseConfirm: "waiting for your answer about its key", fleetssh.PhasePassword: "waiting for another host to accept the password",
	fleetssh.PhaseStart: "starting the command", fleetssh.PhaseRun: "running", fleetssh.PhaseCopy: "copying", fleetssh.PhaseScan: "scanning its keys",
}

// Activity returns what a host is doing.
func Activity(p fleetssh.Progress) string {
	text, ok := activities[p.Phase]
	if !ok {
		text = string(p.Phase)
	}
	switch {
	case p.Attempt < 1 || p.Phase == fleetssh.PhaseStart || p.Phase == fleetssh.PhaseRun || p.Phase == fleetssh.PhaseCopy:
	case p.Phase == fleetssh.PhaseRetry:
		text += " after " + ordinal(p.Attempt) + " attempt"
	case p.Attempt > 1:
		text += ", " + ordinal(p.Attempt) + " attempt"
	}
	return text
}

func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprint(n, "st")
	case n%10 == 2:
		return fmt.Sprint(n, "nd")
	case n%10 == 3:
		return fmt.Sprint(n, "rd")
	}
	return fmt.Sprint(n, "th")
}

// seconds formats a duration in whole seconds.
func seconds(d time.Duration) string {
	return ShortDuration(max(d.Truncate(time.Second), 0))
}
