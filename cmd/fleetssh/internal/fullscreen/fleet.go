package fullscreen

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// state is what a cell of the grid shows.
type state uint8

// The states of a host.
const (
	waiting    state = iota
	connecting       // until its command has started
	running
	succeeded
	failed
	skipped
	states // how many there are
)

// ended reports whether nothing more comes from a host.
func (s state) ended() bool { return s >= succeeded }

// host is what is known of one host.
type host struct {
	state  state
	tail   tail
	title  string    // how it failed
	reason string    // why
	doing  string    // what it does
	since  time.Time // when the state began
	after  time.Duration

	output    *fleetssh.HostOutput // of the command that runs; nil: none
	uncertain bool                 // the command may have run, or may still run
}

// fleet is the state of all hosts. Events change it on the goroutine of the run, and the view reads it
// on its own.
type fleet struct {
	hosts   []selection.Host
	labels  []string // of the hosts, without control characters
	batches []int
	begun   time.Time
	budget  Budget
	can     Abilities
	success string        // how a host ends that has not failed
	amount  func() string // what has been copied; nil: nothing is copied

	mu      sync.Mutex // protects what follows
	by      []host     // by index
	count   [states]int
	folded  *fold.Fold
	limit   int    // bytes of each tail
	current int    // index of the batch
	left    int    // how many hosts of the batch have not ended
	rate    rate   // of hosts that ended
	pausing bool   // the user wants to be asked before the next batch
	asked   *asked // about the next batch; nil: nothing
	over    bool   // the run has ended
	end     time.Time
	notice  string  // the newest message
	groups  []group // cached
	cached  int     // number of ended hosts when they were made
}

// group is the hosts that wrote the same and ended the same way.
type group struct {
	fold.Group
	state state
}

func newFleet(t *results.Summary, batches []int, budget Budget, can Abilities) *fleet {
	n := len(t.Hosts)
	f := &fleet{hosts: t.Hosts, batches: batches, begun: t.Begun, budget: budget, can: can, success: "exit code 0", by: make([]host, n), folded: fold.New(n), limit: tailLimit(n), cached: -1}
	f.count[waiting] = n
	for i := range t.Hosts {
		f.labels = append(f.labels, termline.Visible(t.Hosts[i].Label))
	}
	if len(batches) > 0 {
		f.left = batches[0]
	}
	return f
}

// enter changes the state of a host. mu must be held.
func (f *fleet) enter(i int, s state, now time.Time) {
	h := &f.by[i]
	f.count[h.state]--
	f.count[s]++
	h.state, h.since, h.doing = s, now, ""
	batch := f.batchOf(i)
	if batch > f.current && s != skipped {
		f.current, f.left = batch, f.batches[batch]
	}
	if batch == f.current && s.ended() {
		f.left--
	}
}

// batchOf returns the batch of a host.
func (f *fleet) batchOf(i int) int {
	end := 0
	for n, size := range f.batches {
		if end += size; i < end {
			return n
		}
	}
	return 0
}

// show adds an event.
func (f *fleet) show(ev fleetssh.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stream := fold.Stdout
	switch ev.Kind {
	case fleetssh.Started:
		if h := &f.by[ev.Index]; !h.state.ended() {
			h.output = ev.Output
			f.enter(ev.Index, running, ev.Time)
		}
		return
	case fleetssh.StdoutLine:
	case fleetssh.StderrLine:
		stream = fold.Stderr
	default:
		return
	}
	h := &f.by[ev.Index]
	if h.state.ended() {
		return // cannot happen: nothing follows the result
	}
	h.tail.add(f.limit, line{stream, ev.Text})
	if err := f.folded.Line(ev.Index, stream, ev.Text); err != nil {
		f.notice = "some output could not be folded: " + err.Error()
	}
}

// copying adds a line about a file of a host that is at work. It is in no group: hosts copy in different
// orders.
func (f *fleet) copying(i int, text string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := &f.by[i]
	if h.state == waiting || h.state == connecting {
		f.enter(i, running, now)
	}
	if text != "" && !h.state.ended() {
		h.tail.add(f.limit, line{fold.Stdout, text})
	}
}

// finished adds the result of a host.
func (f *fleet) finished(r *results.Result, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := &f.by[r.Index]
	if h.state.ended() {
		return // each host has one result
	}
	s := succeeded
	switch {
	case r.Outcome.Kind == fleetssh.Skipped:
		s = skipped
	case !r.OK:
		s = failed
	}
	if s != succeeded {
		h.title, _ = r.Title()
		h.reason = r.Problem.Reason
	}
	h.output, h.uncertain = nil, r.Uncertain()
	f.enter(r.Index, s, now)
	h.after = r.After
	if s != skipped {
		f.rate.add(now)
	}
	f.folded.End(r.Index, h.title)
}

// working updates what hosts do that have not started their command.
func (f *fleet) working(progress []fleetssh.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range progress {
		h := &f.by[p.Index]
		if h.state == waiting {
			f.enter(p.Index, connecting, p.Begun)
		}
		if h.state == connecting && (p.Phase == fleetssh.PhaseCopy || p.Phase == fleetssh.PhaseRun) {
			f.enter(p.Index, running, p.Since)
		}
		if h.state == connecting || h.state == running {
			h.doing = results.Activity(p)
		}
	}
}

// asked is a question about the next batch.
type asked struct {
	text   string
	answer chan string // takes one answer
}

// ask puts a question about the next batch.
func (f *fleet) ask(text string) *asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = &asked{text, make(chan string, 1)}
	return f.asked
}

// answer answers the question about the next batch. mu must be held.
func (f *fleet) answer(key string) {
	f.asked.answer <- key
	f.asked, f.pausing = nil, false
}

// pauses reports whether the user wants to be asked before the next batch.
func (f *fleet) pauses() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pausing
}

// hasNext reports whether another batch follows. mu must be held.
func (f *fleet) hasNext() bool { return !f.over && f.current+1 < len(f.batches) }

// again returns the failed hosts among some whose command can be repeated, and how many are left out,
// because their outcome is unknown. mu must be held.
func (f *fleet) again(among []int) (hosts []int, left int) {
	for _, i := range among {
		switch h := &f.by[i]; {
		case h.state != failed:
		case h.uncertain && !f.can.Repeat:
			left++
		default:
			hosts = append(hosts, i)
		}
	}
	return hosts, left
}

// tell shows a message in the view.
func (f *fleet) tell(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notice = text
}

// finish ends the run.
func (f *fleet) finish(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over, f.end = true, now
}

// close frees the output.
func (f *fleet) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.folded.Close()
}

// done returns how many hosts have ended, without those that were skipped. mu must be held.
func (f *fleet) done() int { return f.count[succeeded] + f.count[failed] }

// elapsed returns how long the run has taken. mu must be held.
func (f *fleet) elapsed(now time.Time) time.Duration {
	if f.over {
		now = f.end
	}
	return max(now.Sub(f.begun), 0)
}

// odd returns the groups, the odd ones first: those that failed, the smallest of them first, then the
// others, of which the most common output comes last, and then skipped hosts. mu must be held.
func (f *fleet) odd() []group {
	ended := f.done() + f.count[skipped]
	if f.cached == ended {
		return f.groups
	}
	f.cached = ended
	f.groups = f.groups[:0]
	for _, g := range f.folded.Groups() {
		f.groups = append(f.groups, group{g, f.by[g.Hosts[0]].state})
	}
	rank := [states]int{failed: 0, succeeded: 1, skipped: 2}
	slices.SortFunc(f.groups, func(a, b group) int {
		return cmp.Or(rank[a.state]-rank[b.state], len(a.Hosts)-len(b.Hosts), a.Hosts[0]-b.Hosts[0])
	})
	return f.groups
}

// common returns the most common output, nil if no host wrote any. mu must be held.
func (f *fleet) common() *group {
	var common *group
	for i, g := range f.odd() {
		if !g.Empty() && (common == nil || len(g.Hosts) > len(common.Hosts)) {
			common = &f.groups[i]
		}
	}
	return common
}

// groupOf returns the group of a host that has ended, nil if it has none. mu must be held.
func (f *fleet) groupOf(host int) *group {
	if !f.by[host].state.ended() {
		return nil
	}
	for i, g := range f.odd() {
		if _, found := slices.BinarySearch(g.Hosts, host); found {
			return &f.groups[i]
		}
	}
	return nil
}

// fold formats hosts as a set.
func (f *fleet) fold(indexes []int) string {
	labels := make([]string, len(indexes))
	for i, index := range indexes {
		labels[i] = f.labels[index]
	}
	return selection.FoldNames(labels)
}

// status returns what a host does, or how it ended. mu must be held.
func (f *fleet) status(i int, now time.Time) string {
	h := &f.by[i]
	since := ""
	if !f.over {
		since = " for " + results.ShortDuration(max(now.Sub(h.since), 0).Truncate(time.Second))
	}
	switch h.state {
	case waiting:
		return "waiting"
	case connecting:
		return h.doing + since
	case running:
		return cmp.Or(h.doing, "running") + since
	case succeeded:
		return f.success + " after " + results.ShortDuration(h.after)
	case skipped:
		return "skipped"
	}
	text := h.title
	if h.reason != "" {
		text += ": " + h.reason
	}
	return fmt.Sprintf("%s after %s", text, results.ShortDuration(h.after))
}

// rateSeconds is the time over which the rate is averaged.
const rateSeconds = 10

// rate counts events of the last seconds.
type rate struct {
	counts [rateSeconds + 1]int
	second int64 // of the newest count
}

// add counts an event.
func (r *rate) add(now time.Time) {
	r.move(now)
	r.counts[r.second%int64(len(r.counts))]++
}

// move forgets what is too long ago.
func (r *rate) move(now time.Time) {
	second := now.Unix()
	if second-r.second > int64(len(r.counts)) {
		r.counts, r.second = [rateSeconds + 1]int{}, second
	}
	for r.second < second {
		r.second++
		r.counts[r.second%int64(len(r.counts))] = 0
	}
}

// perSecond returns how many events there were in each of the last full seconds, of which elapsed have
// passed at most.
func (r *rate) perSecond(now time.Time, elapsed time.Duration) float64 {
	r.move(now)
	sum := 0
	for _, n := range r.counts {
		sum += n
	}
	over := min(elapsed.Seconds(), rateSeconds)
	if over < 1 {
		return 0
	}
	return float64(sum) / over
}
