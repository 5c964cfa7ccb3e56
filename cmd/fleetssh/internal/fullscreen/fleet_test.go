package fullscreen

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// noon is when the runs of the tests begin.
var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// allAbilities are those of run.
var allAbilities = Abilities{Stop: true, Rerun: true, Report: true}

// newTestFleet returns a fleet of hosts web1, web2 and so on, which closes with the test.
func newTestFleet(t testing.TB, n int, batches []int, budget Budget) *fleet {
	t.Helper()
	summary := &results.Summary{Begun: noon}
	for i := range n {
		name := fmt.Sprintf("web%d", i+1)
		summary.Hosts = append(summary.Hosts, selection.Host{Name: name, Label: name})
	}
	f := newFleet(summary, batches, budget, allAbilities)
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fleet) started(i int, at time.Duration) {
	f.show(fleetssh.Event{Kind: fleetssh.Started, Index: i, Time: noon.Add(at)})
}

func (f *fleet) wrote(i int, lines ...string) {
	for _, text := range lines {
		f.show(fleetssh.Event{Kind: fleetssh.StdoutLine, Index: i, Text: text})
	}
}

func (f *fleet) complained(i int, text string) {
	f.show(fleetssh.Event{Kind: fleetssh.StderrLine, Index: i, Text: text})
}

// exited ends a host with an exit code.
func (f *fleet) exited(i, code int, at time.Duration) {
	f.finished(&results.Result{Index: i, OK: code == 0, Outcome: fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: code}, After: at}, noon.Add(at))
}

func (f *fleet) skips(i int, at time.Duration) {
	f.finished(&results.Result{Index: i, Outcome: fleetssh.Outcome{Kind: fleetssh.Skipped}, After: at}, noon.Add(at))
}

func TestTail(t *testing.T) {
	t.Parallel()
	var short tail
	for i := range 5 {
		short.add(1000, line{fold.Stdout, fmt.Sprint("line ", i)})
	}
	if got := short.last(2); !slices.Equal(got, []line{{fold.Stdout, "line 3"}, {fold.Stdout, "line 4"}}) {
		t.Errorf("the last two lines are %v", got)
	}
	if got := short.last(9); len(got) != 5 || got[0].text != "line 0" {
		t.Errorf("all lines are %v", got)
	}
	var long tail
	for i := range 10_000 {
		long.add(minTail, line{fold.Stderr, fmt.Sprint(i)})
		if len(long.kept) > minTail {
			t.Fatalf("%d bytes are kept", len(long.kept))
		}
	}
	if got := long.last(1); long.lines != 10_000 || len(got) != 1 || got[0] != (line{fold.Stderr, "9999"}) {
		t.Errorf("the last of %d lines is %v", long.lines, got)
	}
	var wide tail
	wide.add(minTail, line{fold.Stdout, strings.Repeat("x", 1<<20)})
	if got := wide.last(1); len(got) != 1 || len(got[0].text) > minTail || !strings.HasSuffix(got[0].text, "x…") {
		t.Errorf("a long line is kept as %+v", got)
	}
	wide.add(minTail, line{fold.Stdout, "a\nb"})
	if got := wide.last(1); got[0].text != "a b" {
		t.Errorf("a line with a line end is kept as %+v", got)
	}
}

// Whatever events come in whatever order, counts and groups are consistent, and every screen has the
// size of the terminal.
func TestEventsInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "hosts")
		var batches []int
		for left := n; left > 0; {
			size := rapid.IntRange(1, left).Draw(t, "batch")
			batches = append(batches, size)
			left -= size
		}
		summary := &results.Summary{Begun: noon}
		for i := range n {
			name := fmt.Sprint("h", i)
			summary.Hosts = append(summary.Hosts, selection.Host{Name: name, Label: name})
		}
		f := newFleet(summary, batches, Budget{Limited: rapid.Bool().Draw(t, "limited"), MaxFailed: 2}, allAbilities)
		defer f.close()
		m := newModel(f, 80, 24)
		now := noon
		ended := make(map[int]bool)
		for range rapid.IntRange(0, 120).Draw(t, "events") {
			i := rapid.IntRange(0, n-1).Draw(t, "host")
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 6).Draw(t, "event") {
			case 0:
				f.started(i, now.Sub(noon))
			case 1:
				f.wrote(i, rapid.SampledFrom([]string{"a", "b", "\x1b[2J", "\xff", "日本\t語", ""}).Draw(t, "line"))
			case 2:
				f.complained(i, "e")
			case 3:
				f.exited(i, rapid.IntRange(0, 2).Draw(t, "code"), now.Sub(noon))
				ended[i] = true
			case 4:
				f.skips(i, now.Sub(noon))
				ended[i] = true
			case 5:
				f.working([]fleetssh.Progress{{Index: i, Phase: fleetssh.PhaseAuth, Since: now, Begun: now}})
			case 6:
				m.width, m.height = rapid.IntRange(1, 120).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height")
			}
			m.key(rapid.SampledFrom([]string{"up", "down", "left", "right", "tab", "f", "enter", "d", "esc", "?", "pgdown", "end", "home", "/", "h", "s", "p", "r", "w", "y", "n"}).Draw(t, "key"), "h")
			checkScreen(t, m, now)
		}
		members := 0
		for _, g := range f.odd() {
			members += len(g.Hosts)
		}
		if members != len(ended) || f.done()+f.count[skipped] != len(ended) {
			t.Fatalf("%d hosts have ended, %d are in groups, %d are counted", len(ended), members, f.done()+f.count[skipped])
		}
	})
}

// checkScreen checks that the screen fits the terminal and contains no control characters but our own.
func checkScreen(t interface{ Fatalf(string, ...any) }, m *model, now time.Time) {
	rows := strings.Split(m.view("uptime", now), "\n")
	if len(rows) != max(m.height, 1) {
		t.Fatalf("%d rows on a screen of %d", len(rows), m.height)
	}
	for _, row := range rows {
		text := styles.ReplaceAllString(row, "")
		if width(text) > m.width && m.width > 10 {
			t.Fatalf("%d columns on a screen of %d: %q", width(text), m.width, row)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }) {
			t.Fatalf("control characters: %q", row)
		}
	}
}

func TestOddGroupsComeFirst(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 9, nil, Budget{})
	for i := range 9 {
		f.started(i, 0)
	}
	for i := range 5 {
		f.wrote(i, "same")
		f.exited(i, 0, time.Second)
	}
	f.wrote(5, "other")
	f.exited(5, 0, time.Second)
	f.exited(6, 1, time.Second)
	f.exited(7, 1, time.Second)
	f.finished(&results.Result{Index: 8, Outcome: fleetssh.Outcome{Kind: fleetssh.Unreachable}, Problem: results.Problem{Phase: "connect", Reason: "refused"}}, noon)
	var got []string
	for _, g := range f.odd() {
		got = append(got, f.fold(g.Hosts))
	}
	if want := []string{"web9", "web[7-8]", "web6", "web[1-5]"}; !slices.Equal(got, want) {
		t.Errorf("the groups are %v, want %v", got, want)
	}
	if common := f.common(); common == nil || len(common.Hosts) != 5 {
		t.Errorf("the most common output is that of %v", common)
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 6, []int{1, 2, 3}, Budget{Limited: true, MaxFailed: 1})
	m := newModel(f, 80, 24)
	check := func(want string) {
		t.Helper()
		if got := m.batch(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check("batch 1 of 3 (1 host), 0 failed, the budget is 1")
	f.started(0, 0)
	f.exited(0, 0, time.Second)
	check("batch 1 of 3 (1 host) is done, 0 failed, the budget is 1")
	f.working([]fleetssh.Progress{{Index: 1, Phase: fleetssh.PhaseConnect, Begun: noon}})
	f.working([]fleetssh.Progress{{Index: 2, Phase: fleetssh.PhaseConnect, Begun: noon}})
	check("batch 2 of 3 (2 hosts), 0 failed, the budget is 1")
	f.exited(1, 3, time.Second)
	f.exited(2, 3, time.Second)
	for i := 3; i < 6; i++ {
		f.skips(i, time.Second)
	}
	check("batch 2 of 3 (2 hosts) is done, 2 failed, the budget is 1")
	m.width = 30
	check("batch 2 of 3, 2/1 failed")
}

func TestRate(t *testing.T) {
	t.Parallel()
	var r rate
	for second := range 30 {
		for range 7 {
			r.add(noon.Add(time.Duration(second) * time.Second))
		}
	}
	if got := r.perSecond(noon.Add(30*time.Second), 30*time.Second); got < 6.9 || got > 7.1 {
		t.Errorf("7 a second are %v", got)
	}
	if got := r.perSecond(noon.Add(time.Hour), time.Hour); got != 0 {
		t.Errorf("after an hour, the rate is %v", got)
	}
	if got := r.perSecond(noon.Add(time.Hour), 0); got != 0 {
		t.Errorf("at the beginning, the rate is %v", got)
	}
}

// Files of a copy are shown while it goes on, and belong to no group; amounts take the place of the rate.
func TestCopying(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 2, nil, Budget{})
	f.success, f.amount = "done", func() string { return "34% of 1.2 GiB, 12 MiB/s" }
	m := newModel(f, 80, 24)
	check := func(want ...string) {
		t.Helper()
		screen := styles.ReplaceAllString(m.view("put big /tmp", noon.Add(3*time.Second)), "")
		for _, text := range want {
			if !strings.Contains(screen, text) {
				t.Errorf("no %q on the screen:\n%s", text, screen)
			}
		}
	}
	f.working([]fleetssh.Progress{{Index: 0, Phase: fleetssh.PhaseCopy, Since: noon}, {Index: 1, Phase: fleetssh.PhaseAuth, Begun: noon, Since: noon}})
	check("● web1 ○ web2", "web1: copying for 3s", "0 of 2 hosts done, 2 running, 34% of 1.2 GiB, 12 MiB/s")
	f.copying(0, "a: 1 B", noon)
	f.copying(0, "b: 2 B", noon)
	f.copying(1, "b: 2 B", noon)
	f.copying(1, "a: 1 B", noon)
	check("\na: 1 B\nb: 2 B\n")
	for i := range 2 {
		f.wrote(i, "2 files, 3 B")
		f.exited(i, 0, 2*time.Second)
		f.copying(i, "late", noon)
	}
	check("2  web[1-2]  2 files, 3 B", "\na: 1 B\nb: 2 B\n2 files, 3 B\n\n", "web1: done after 2s")
	m.press("tab")
	check("web[1-2] (2): done")
}

// An error of the fold, such as a full disk, is shown, and does not stop the view.
func TestNotice(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 1, nil, Budget{})
	f.tell(errors.New("batch 1 of 3 is done").Error())
	m := newModel(f, 80, 24)
	if screen := m.view("uptime", noon); !strings.Contains(screen, "batch 1 of 3 is done") {
		t.Errorf("the message is not shown:\n%s", screen)
	}
	m.key("down", "")
	if screen := m.view("uptime", noon); strings.Contains(screen, "batch 1 of 3 is done") {
		t.Errorf("the message is shown after a key:\n%s", screen)
	}
}

// lineOf is a line of a host, and eventOf the start of one.
func lineOf(i int) fleetssh.Event {
	return fleetssh.Event{Kind: fleetssh.StdoutLine, Index: i, Text: "Reading package lists..."}
}

func eventOf(i int) fleetssh.Event {
	return fleetssh.Event{Kind: fleetssh.Started, Index: i, Time: noon}
}
