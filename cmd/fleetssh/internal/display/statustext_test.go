package display

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clipperhouse/displaywidth"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// runOf returns the state of a run on 200 hosts that began some time ago. All hosts from working on have
// not begun.
func runOf(ago time.Duration, ok, failed, working int) *results.Summary {
	hosts := make([]selection.Host, 200)
	for i := range hosts {
		hosts[i].Label = fmt.Sprintf("web%03d", i+1)
	}
	t := results.New(hosts)
	for i := range ok + failed {
		t.AddResult(results.Result{Index: i, OK: i < ok})
	}
	since := time.Now()
	t.Outstanding.Working = func() (work []fleetssh.Progress) {
		for i := ok + failed; i < working; i++ {
			phase := fleetssh.PhaseRun
			if i%2 == 1 {
				phase = fleetssh.PhaseAuth
			}
			work = append(work, fleetssh.Progress{Index: i, Phase: phase, Since: since, Begun: since})
		}
		return work
	}
	time.Sleep(ago)
	return t
}

// The status line has the most important words first, at every width, and none of its lines is wider.
func TestStatusText(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			name                string
			ago                 time.Duration
			ok, failed, working int
			lines               map[int]string
		}{
			{"begun", 0, 0, 0, 100, map[int]string{
				200: "---------------------------------------- 0 of 200 hosts done, 50 running, 0s",
				40:  "0/200, 50 running, 0s",
			}},
			{"half done", 12 * time.Second, 114, 2, 128, map[int]string{
				200: "#######################----------------- 116 of 200 hosts done, 6 running, 2 failed, 9.7/s, 12s, about 9s left: web[117,119] running 12s, web118 logging in 12s, 9 more",
				120: "###########--------- 116 of 200 hosts done, 6 running, 2 failed, 9.7/s, 12s, about 9s left: web117 running 12s, 11 more",
				80:  "#####----- 116/200 done, 6 running, 2 failed, 9.7/s, 12s, ~9s left",
				40:  "116/200, 6 running, 2 failed, ~9s left",
				24:  "116/200, 2 failed",
			}},
			{"two left", 40 * time.Second, 196, 2, 200, map[int]string{
				200: "#######################################- 198 of 200 hosts done, 1 running, 2 failed, 40s: web199 running 40s, web200 logging in 40s",
				80:  "#########- 198/200 done, 1 running, 2 failed, 40s: web199 running 40s, 1 more",
				60:  "198/200 done, 2 failed: web199 running 40s, 1 more",
				40:  "198/200, 1 running, 2 failed, 40s",
				9:   "198/200",
			}},
			{"none left", 40 * time.Second, 198, 2, 200, map[int]string{
				80: "########## 200/200 done, 2 failed, 5.0/s, 40s",
			}},
			{"one left", 40 * time.Second, 198, 1, 200, map[int]string{
				41: "199/200, 1 failed: web200 logging in 40s",
				40: "199/200, 1 failed, 40s",
			}},
		} {
			run := runOf(test.ago, test.ok, test.failed, test.working)
			for columns, want := range test.lines {
				text := newStatusText("", run)
				var got strings.Builder
				for _, span := range text.fit(columns - 1) {
					got.WriteString(span.Text)
				}
				if got.String() != want {
					t.Errorf("%s, %d columns:\n%s, want\n%s", test.name, columns, got.String(), want)
				}
			}
			for columns := 12; columns < 250; columns++ {
				text, width := newStatusText("put", run), 0
				for _, span := range text.fit(columns) {
					width += displaywidth.String(span.Text)
				}
				if width > columns {
					t.Errorf("%s: %d columns, and only %d exist", test.name, width, columns)
				}
			}
		}
		text := newStatusText("", runOf(90*time.Second, 100, 0, 100))
		if got := text.plain(); got != "100 of 200 hosts done, 1.1/s, 1m30s, about 1m30s left" {
			t.Errorf("a log: %q", got)
		}
	})
}

// A failure is red in the bar, however few there are.
func TestStatusBar(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	text := newStatusText("", runOf(0, 99, 1, 200))
	if got := fmt.Sprint(text.bar(10)); got != fmt.Sprintf("[{%d ━━━━} {%d ━} {%d ─────} {0  }]", termline.Added, termline.Failure, termline.Faint) {
		t.Error(got)
	}
}

// Without a terminal there is a line every so often, and a last one at the end.
func TestPlainProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, when := range []string{"plain", "always"} {
			var shown bytes.Buffer
			s := termline.New(io.Discard, &shown)
			run := runOf(0, 1, 0, 1)
			line := startStatus(s, when, hostsStatus(run))
			time.Sleep(90 * time.Minute)
			line.end()
			line.end()
			s.Close()
			const want = "10s 20s 30s 40s 50s 1m 1m30s 2m 9m30s 10m 11m 59m 1h0m 1h5m 1h30m"
			lines := strings.Split(strings.TrimSpace(shown.String()), "\n")
			for _, at := range strings.Fields(want) {
				if n := strings.Count(shown.String(), "fleetssh: 1 of 200 hosts done, "+strings.TrimSuffix(at, "0m")); n < 1 {
					t.Errorf("%s: no line after %s", when, at)
				}
			}
			if len(lines) != 6+18+50+6+1 {
				t.Errorf("%s: %d lines: %q", when, len(lines), lines)
			}
		}
		if startStatus(termline.New(io.Discard, io.Discard), "auto", nil) != nil {
			t.Error("auto shows progress without a terminal")
		}
	})
}
