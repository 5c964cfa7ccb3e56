package display

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// statusFor returns the status of a copy. shares are the bytes that a put sends to each host.
func statusFor(verb string, shares ...int64) *copyStatus {
	hosts := make([]selection.Host, len(shares))
	s := &copyStatus{CopyView: CopyView{View: View{Summary: results.New(hosts)}, flags: &CopyFlags{quiet: true}, Verb: verb}, open: make(map[openFile]int64), seen: make([]int64, len(hosts)), ended: make([]bool, len(hosts))}
	s.CopyDisplay = newCopyText(s.CopyView)
	if verb == "put" {
		s.shares = shares
	}
	return s
}

// amount returns how much has been copied, as the status line shows it.
func amount(s *copyStatus) string {
	text := s.text()
	return text.amount
}

func TestCopyStatus(t *testing.T) {
	t.Parallel()
	s := statusFor("put", 1000, 1000, 1000)
	for _, p := range []fleetssh.CopyProgress{
		{Index: 0, Path: "a", Done: 300, Total: 600},
		{Index: 1, Path: "a", Done: 200, Total: 600},
		{Index: 0, Path: "a", Done: 600, Total: 600, Ended: true},
		{Index: 0, Path: "b", Done: 400, Total: 400, Ended: true, Skipped: true},
	} {
		s.Progress(p)
	}
	if got := amount(s); got != "40% of 2.9 KiB" || s.moved != 800 {
		t.Errorf("%s, %d moved", got, s.moved)
	}
	// The bytes that a failed host did not get no longer count towards the total.
	s.Finished(s.Summary.AddResult(results.Result{Index: 1}))
	s.Finished(s.Summary.AddResult(results.Result{Index: 2}))
	s.Finished(s.Summary.AddResult(results.Result{Index: 0, OK: true}))
	text := s.text()
	if got := text.plain(); !strings.HasPrefix(got, "put: 3 of 3 hosts done, 2 failed, 100% of 1.2 KiB, ") || !strings.HasSuffix(got, "/s, 0s") {
		t.Error(got)
	}
	if len(s.open) != 1 { // host 1 ended within its file
		t.Errorf("open: %v", s.open)
	}
	s = statusFor("get", 0)
	s.Progress(fleetssh.CopyProgress{Path: "a", Done: 2048})
	if got := amount(s); got != "2.0 KiB" {
		t.Error(got)
	}
	// The bytes of a resumed partial file count as copied, but not towards the rate.
	s = statusFor("get", 0)
	s.Resume = true
	s.Progress(fleetssh.CopyProgress{Path: "a", Done: 1 << 30})
	s.Progress(fleetssh.CopyProgress{Path: "a", Done: 1<<30 + 100})
	if amount(s) != "1.0 GiB" || s.moved != 100 {
		t.Errorf("%s, %d moved", amount(s), s.moved)
	}
}

func TestCopyRate(t *testing.T) {
	t.Parallel()
	s := statusFor("get", 0)
	begun := time.Now()
	s.samples = []rateSample{{at: begun}}
	for tick := 1; tick <= 40; tick++ {
		s.moved = int64(tick) * 1000
		if tick > 20 {
			s.moved = 20000 // it stalls
		}
		got := s.rate(begun.Add(time.Duration(tick) * progressTick))
		if tick <= 20 && got != 4000 || tick == 40 && got != 0 {
			t.Errorf("tick %d: %d bytes a second", tick, got)
		}
	}
	if len(s.samples) > 20 {
		t.Errorf("%d samples are kept", len(s.samples))
	}
}

// Paths and errors are shown without control characters and without invalid UTF-8.
func TestCopyDisplays(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	screen := termline.New(&out, &errOut)
	hosts := []selection.Host{{Name: "web1", Label: "web1"}}
	v := CopyView{View: View{Screen: screen, Summary: results.New(hosts)}, flags: &CopyFlags{Verbose: true}}
	failed := &fleetssh.CopyError{Op: "open", Path: "/x\n\x1b[2J\xff", Local: true, Err: &os.PathError{Err: fs.ErrPermission}}
	for _, d := range []CopyDisplay{newCopyText(v), &copyJSON{CopyView: v}} {
		d.Progress(fleetssh.CopyProgress{Path: "/a\n\xff", Done: 3, Total: 3, Ended: true})
		d.Progress(fleetssh.CopyProgress{Path: "/b\x9b", Done: 1, Total: 3})
		d.Progress(fleetssh.CopyProgress{Path: "/c\u202e", Done: 3, Total: 3, Ended: true, Skipped: true})
		d.Progress(fleetssh.CopyProgress{Path: failed.Path, Ended: true, Err: failed})
		d.Progress(fleetssh.CopyProgress{Path: "/" + strings.Repeat("ö", 50_000), Done: 3, Total: 3, Ended: true})
		screen.Flush()
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 5000 {
			t.Errorf("a line of %d bytes: %.80q", len(line), line)
		}
	}
	for text, wants := range map[string][]string{
		out.String(): {
			"web1: /a^J\\xff: 3 B\n", "web1: /c\\u202e: already there\n",
			`"path_base64":"L2EK/w==","bytes":3,"skipped":false,"error":null}`, `"path":"/c\u202e","bytes":3,"skipped":true`,
			`"error":{"kind":"copy","phase":"open",`,
		},
		errOut.String(): {"web1: cannot open local /x^J^[[2J\\xff: permission denied\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in %q", want, text)
			}
		}
		for _, bad := range []string{"\x1b", "\x9b", "\u202e", "\xff", "/b"} {
			if strings.Contains(text, bad) {
				t.Errorf("%q is in %q", bad, text)
			}
		}
	}
}
