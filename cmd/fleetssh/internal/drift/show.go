package drift

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/compare"
)

// maxShown is how many differences of a host are shown.
const maxShown = 50

// lines returns what was found on a host, in words. Hosts with the same lines have the same files.
func (h *Host) lines() []string {
	if h.Report == nil {
		return nil
	}
	if h.Report.Different == 0 {
		return []string{"the same: " + countFiles(h.Report.Same)}
	}
	var lines []string
	for k := range h.Report.Differences {
		d := &h.Report.Differences[k]
		if len(lines) == maxShown {
			lines = append(lines, fmt.Sprintf("and more: %d of %s differ", h.Report.Different, countFiles(h.Report.Same+h.Report.Different)))
			break
		}
		text := termline.Visible(d.Path) + ": " + d.Text
		if d.Sum != "" {
			text += " (sha256 " + d.Sum[:min(len(d.Sum), 12)] + "…)"
		}
		lines = append(lines, text)
	}
	return lines
}

func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprint(n, " files")
}

// Shown collects what was found on hosts, and shows it at the end: hosts with the same files together.
type Shown struct {
	Screen  *termline.Screen
	Summary *results.Summary
	Check   *Check
	Quiet   bool
	Verbose bool // each host has lines of its own

	groups fold.Texts[int]
	first  map[string]Host // of each group
}

// Add adds a host.
func (s *Shown) Add(h Host) {
	lines := h.lines()
	if len(lines) == 0 {
		return
	}
	key := strings.Join(lines, "\n")
	if s.Verbose {
		key += fmt.Sprint("\x00", h.Index)
	}
	if s.first == nil {
		s.first = make(map[string]Host)
	}
	if _, known := s.first[key]; !known {
		s.first[key] = h
	}
	s.groups.Add(key, h.Index)
}

// Show implements [display.Display]: hosts show nothing themselves.
func (s *Shown) Show(fleetssh.Event) {}

// Finished implements [display.Display].
func (s *Shown) Finished(*results.Result) {}

// Close shows the groups, the largest first, and what failed.
func (s *Shown) Close() {
	if !s.Quiet {
		type group struct {
			first Host
			hosts []int
		}
		var groups []group
		for key, hosts := range s.groups.All() {
			slices.Sort(hosts)
			groups = append(groups, group{s.first[key], hosts})
		}
		slices.SortFunc(groups, func(a, b group) int { return cmp.Or(len(b.hosts)-len(a.hosts), a.hosts[0]-b.hosts[0]) })
		for i := range groups {
			s.group(s.Summary.Counted(groups[i].hosts), &groups[i].first)
		}
	}
	differ, failed := 0, 0
	for i := range s.Summary.Results {
		switch r := &s.Summary.Results[i]; {
		case r.Differs:
			differ++
		case !r.OK:
			failed++
		}
	}
	if differ > 0 && failed == 0 {
		var hosts []int
		for i := range s.Summary.Results {
			if r := &s.Summary.Results[i]; r.Differs {
				hosts = append(hosts, r.Index)
			}
		}
		verb := "differ"
		if differ == 1 {
			verb = "differs"
		}
		s.Screen.Message(fmt.Sprintf("fleetssh: %d of %s %s: %s", differ, selection.CountHosts(len(s.Summary.Hosts)), verb, s.Summary.Fold(hosts)))
		return
	}
	s.Summary.ShowFailures(s.Screen)
}

// group shows a group of hosts.
func (s *Shown) group(label string, h *Host) {
	style := termline.Label
	if h.Report.Different > 0 {
		style = termline.Failure
	}
	prefix := s.Screen.Paint(style, label) + ": "
	for _, line := range h.lines() {
		s.Screen.Out(prefix, line)
	}
	if !s.Check.Diff {
		return
	}
	for k := range h.Report.Differences {
		if d := &h.Report.Differences[k]; d.State == compare.Content && h.plan.entries[d.Index].Kind == compare.File {
			s.diff(label, h, d)
		}
	}
}

// diff shows what a copy would change in a file.
func (s *Shown) diff(label string, h *Host, d *compare.Difference) {
	e := &h.plan.entries[d.Index]
	there, known := s.Check.contents[h.contentKey(d)]
	here := localContent(e.Local)
	note := func(why string) { s.Screen.Out("  ", termline.Visible(d.Path)+": "+why) }
	switch {
	case !known:
		note(fmt.Sprintf("only the first %d different contents are shown", maxContents))
		return
	case there.why != "":
		note(there.why)
		return
	case here.why != "":
		note(here.why)
		return
	}
	text := udiff.Unified(termline.Visible(d.Path)+" on "+label, termline.Visible(e.Path)+" here", there.text, here.text)
	for line := range strings.Lines(text) {
		display.ShowDiffLine(s.Screen, strings.TrimSuffix(line, "\n"))
	}
}

// jsonHost is a host for --format json.
type jsonHost struct {
	results.JSONResult
	Same        int        `json:"same"`
	Different   int        `json:"different"`
	Differences []jsonFile `json:"differences,omitempty"`
}

type jsonFile struct {
	Path   string `json:"path"`
	State  string `json:"state"` // missing, content, type, unreadable, mode or owner
	Detail string `json:"detail"`
	SHA256 string `json:"sha256,omitempty"` // of the file on the host
}

// JSON shows a host as an object.
func JSON(screen *termline.Screen, t *results.Summary, h Host, r *results.Result) {
	o := jsonHost{JSONResult: t.JSONResult(r)}
	if h.Report != nil {
		o.Same, o.Different = h.Report.Same, h.Report.Different
		for _, d := range h.Report.Differences {
			o.Differences = append(o.Differences, jsonFile{strings.ToValidUTF8(d.Path, "\uFFFD"), string(d.State), d.Text, d.Sum})
		}
	}
	display.PutJSON(screen, o)
}

// Lines returns what the record of the run keeps of a host.
func (h *Host) Lines() []string { return h.lines() }
