package fullscreen

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
)

// press types keys, and returns what the last one asks for.
func (m *model) press(keys ...string) (asks effect) {
	for _, key := range keys {
		text := key
		if len(key) > 1 {
			text = ""
		}
		asks = m.key(key, text)
	}
	return asks
}

func TestStopKey(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 3, nil, Budget{})
	m := newModel(f, 80, 24)
	if m.press("s"); m.message != "web1 has not started the command yet" {
		t.Errorf("before the start: %q", m.message)
	}
	f.show(fleetssh.Event{Kind: fleetssh.Started, Index: 1, Output: new(fleetssh.HostOutput), Time: noon})
	m.press("right", "s")
	if screen := m.view("", noon); !strings.Contains(screen, "stop the command on web2?") {
		t.Errorf("no question:\n%s", screen)
	}
	if asks := m.press("n"); asks != nothing || m.question != nil {
		t.Errorf("n asks for %v", asks)
	}
	if asks := m.press("s", "y"); asks != stopHost || m.stopped != 1 {
		t.Errorf("y asks for %v of host %d", asks, m.stopped)
	}
	f.exited(1, 0, time.Second)
	if m.press("s"); m.message != "web2 has ended already" {
		t.Errorf("after the end: %q", m.message)
	}
	f.can.Stop = false
	if m.press("s"); m.message != "" || m.question != nil {
		t.Errorf("a copy can be stopped: %q", m.message)
	}
}

func TestPauseKey(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 3, []int{1, 2}, Budget{})
	m := newModel(f, 80, 24)
	m.press("p")
	if !f.pauses() || !strings.Contains(m.batch(), "pause before the next") {
		t.Errorf("p does not pause: %q", m.batch())
	}
	if m.press("p"); f.pauses() {
		t.Error("a second p pauses")
	}
	m.press("p")
	asked := f.ask("batch 1 of 2 is done. Run batch 2 on 2 hosts?")
	m.press("down", "x", "enter", "y") // a page has its own keys
	select {
	case answer := <-asked.answer:
		t.Errorf("answer %q from a page", answer)
	default:
	}
	m.press("q", "y")
	if answer := <-asked.answer; answer != "y" || f.pauses() {
		t.Errorf("answer %q, pauses: %v", answer, f.pauses())
	}
	f.exited(0, 0, time.Second)
	f.started(1, time.Second)
	if m.press("p"); m.message != "no batch follows" || f.pauses() {
		t.Errorf("in the last batch: %q", m.message)
	}
}

func TestRerunKey(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 6, nil, Budget{})
	m := newModel(f, 80, 24)
	f.exited(0, 0, time.Second)
	f.exited(1, 1, time.Second)
	if m.press("r"); m.message != "the run has not ended yet" {
		t.Errorf("during the run: %q", m.message)
	}
	f.exited(2, 1, time.Second)
	f.finished(&results.Result{Index: 3, Outcome: fleetssh.Outcome{Kind: fleetssh.Lost}}, noon)
	f.finished(&results.Result{Index: 4, Outcome: fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true}}, noon)
	f.skips(5, time.Second)
	f.finish(noon.Add(time.Second))
	m.press("r")
	if want := "run again on web[2-3,5] (3)? 1 left out: outcome unknown"; m.question == nil || m.question.text != want {
		t.Errorf("question %+v, want %q", m.question, want)
	}
	if asks := m.press("y"); asks != rerun || !slices.Equal(m.repeat, []int{1, 2, 4}) {
		t.Errorf("y asks for %v on %v", asks, m.repeat)
	}
	m.press("/", "w", "e", "b", "3", "enter")
	if asks := m.press("r", "y"); asks != rerun || !slices.Equal(m.repeat, []int{2}) {
		t.Errorf("with a filter, y asks for %v on %v", asks, m.repeat)
	}
	m.press("/", "ctrl+u", "w", "e", "b", "4", "enter", "r")
	if want := "the outcome on 1 host is unknown: fleetssh rerun --include-unknown repeats it"; m.message != want {
		t.Errorf("got %q, want %q", m.message, want)
	}
	f.can.Repeat = true // a copy
	if asks := m.press("r", "y"); asks != rerun || !slices.Equal(m.repeat, []int{3}) {
		t.Errorf("of a copy, y asks for %v on %v", asks, m.repeat)
	}
	m.press("/", "ctrl+u", "w", "e", "b", "1", "enter", "r")
	if m.message != "no host has failed" {
		t.Errorf("got %q", m.message)
	}
}

func TestReportKey(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 1, nil, Budget{})
	m := newModel(f, 80, 24)
	if m.press("w"); m.message != "the run has not ended yet" {
		t.Errorf("during the run: %q", m.message)
	}
	f.finish(noon)
	if asks := m.press("w", "ctrl+u", "a", ".", "h", "enter"); asks != saveReport || m.file != "a.h" {
		t.Errorf("Enter asks for %v in %q", asks, m.file)
	}
	if asks := m.press("w", "ctrl+u", "enter"); asks != nothing {
		t.Errorf("without a name, Enter asks for %v", asks)
	}
	f.can.Report = false
	if m.press("w"); m.input != nil {
		t.Error("a run without a record has a report")
	}
}

// Keys are shown only while they do something.
func TestKeysAreShown(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 3, []int{1, 2}, Budget{})
	m := newModel(f, 200, 24)
	check := func(when string, want, not []string) {
		t.Helper()
		footer := styles.ReplaceAllString(m.footer(), "")
		for _, key := range want {
			if !strings.Contains(footer, key) {
				t.Errorf("%s: no %q in %q", when, key, footer)
			}
		}
		for _, key := range not {
			if strings.Contains(footer, key) {
				t.Errorf("%s: %q in %q", when, key, footer)
			}
		}
	}
	check("at the beginning", []string{"p pause", "q close"}, []string{"s stop", "r rerun", "w report"})
	f.show(fleetssh.Event{Kind: fleetssh.Started, Output: new(fleetssh.HostOutput), Time: noon})
	check("on a running host", []string{"s stop", "p pause"}, []string{"r rerun", "w report"})
	f.ask("batch 1 of 2 is done. Run batch 2 on 2 hosts?")
	check("between batches", []string{"Run batch 2 on 2 hosts? y: yes, n: stop here, a: all"}, nil)
	m.press("n")
	f.exited(0, 1, time.Second)
	f.finish(noon)
	check("after the run", []string{"r rerun failed", "w report"}, []string{"s stop", "p pause"})
	f.can = Abilities{}
	check("after a copy without a record", []string{"q close"}, []string{"r rerun failed", "w report", "s stop", "p pause"})
	m.press("?")
	for _, l := range m.page.lines {
		for _, key := range []string{"  s ", "  r ", "  w "} {
			if strings.HasPrefix(l.text, key) {
				t.Errorf("the list of keys has %q", l.text)
			}
		}
	}
}
