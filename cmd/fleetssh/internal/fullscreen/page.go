package fullscreen

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/termline"
)

var errNoGroups = errors.New("this filter knows no groups")

const (
	// maxPageLines and maxPageBytes bound what an opened output shows.
	maxPageLines = 10_000
	maxPageBytes = 4 << 20
	// maxDiff is the longest output that is compared, in bytes: a diff takes memory and time.
	maxDiff = 256 << 10
)

// page is text that covers the overview: the output of a host, a diff, or the list of keys.
type page struct {
	title string
	lines []paragraph
	top   int // index of the first line on the screen
}

// paragraph is a line of a page, which may take several rows.
type paragraph struct {
	style style
	text  string // without control characters
}

// key moves through the page. It returns true if the key closes it.
func (p *page) key(name string, height int) bool {
	rows := max(height-2, 1)
	last := max(len(p.lines)-rows, 0)
	switch name {
	case "q", "esc", "enter":
		return true
	case "up", "k":
		p.top = max(p.top-1, 0)
	case "down", "j":
		p.top = min(p.top+1, last)
	case "pgup", "b":
		p.top = max(p.top-rows, 0)
	case "pgdown", "space":
		p.top = min(p.top+rows, last)
	case "home", "g":
		p.top = 0
	case "end", "G":
		p.top = last
	}
	return false
}

// open shows the output of what the cursor is on. The lines of standard error come after the lines of
// standard output, as the fold stores them.
func (m *model) open() {
	s, ok := m.subject()
	if !ok {
		return
	}
	p := &page{title: m.title(s)}
	size, left := 0, 0
	for _, stream := range []fold.Stream{fold.Stdout, fold.Stderr} {
		err := m.fleet.folded.HostLines(s.host, stream, func(text string) bool {
			if len(p.lines) >= maxPageLines || size > maxPageBytes {
				left++
				return true
			}
			size += len(text)
			p.lines = append(p.lines, paragraph{streamStyle(stream), visible(text)})
			return true
		})
		if err != nil {
			p.lines = append(p.lines, paragraph{failure, "the output could not be read back: " + err.Error()})
		}
	}
	switch {
	case left > 0:
		p.lines = append(p.lines, paragraph{heading, fmt.Sprintf("… and %d more lines", left)})
	case len(p.lines) == 0:
		p.lines = append(p.lines, paragraph{dim, "no output"})
	}
	m.page = p
}

// title returns the name of a subject and how it ended.
func (m *model) title(s subject) string {
	if s.group == nil {
		return m.fleet.labels[s.host]
	}
	return fmt.Sprintf("%s (%d)", m.fleet.fold(s.group.Hosts), len(s.group.Hosts))
}

// diff shows how the output under the cursor differs from the most common one.
func (m *model) diff() {
	s, ok := m.subject()
	if !ok {
		return
	}
	common := m.fleet.common()
	own := m.fleet.groupOf(s.host)
	switch {
	case m.fleet.by[s.host].state == skipped:
		m.message = m.fleet.labels[s.host] + " was skipped"
		return
	case own == nil:
		m.message = m.fleet.labels[s.host] + " has not ended yet"
		return
	case common == nil:
		m.message = "no host has ended with output yet"
		return
	case own.Hosts[0] == common.Hosts[0]:
		m.message = "this is the most common output"
		return
	}
	a, okA := m.text(common)
	b, okB := m.text(own)
	if !okA || !okB {
		m.message = fmt.Sprintf("over %d KiB of output is not compared; Enter opens it", maxDiff>>10)
		return
	}
	p := &page{title: m.title(s) + " and the most common output"}
	from := m.title(subject{common.Hosts[0], common})
	for text := range strings.Lines(udiff.Unified(visible(from), visible(m.title(s)), a, b)) {
		p.lines = append(p.lines, paragraph{diffStyle(text), visible(strings.TrimSuffix(text, "\n"))})
	}
	m.page = p
}

// text returns what a group wrote and how it ended. ok is false if it is too long to be compared.
func (m *model) text(g *group) (text string, ok bool) {
	var b strings.Builder
	for stream, prefix := range []string{fold.Stdout: "", fold.Stderr: "stderr: "} {
		err := g.Lines(fold.Stream(stream), func(text string) bool {
			b.WriteString(prefix + strings.ReplaceAll(text, "\n", " ") + "\n")
			return b.Len() <= maxDiff
		})
		if err != nil {
			return "", false
		}
	}
	status := g.Status
	if status == "" {
		status = m.fleet.success
	}
	b.WriteString("(" + status + ")\n")
	return b.String(), b.Len() <= maxDiff
}

// visible returns a line of a host without control characters, and with spaces for tabs.
func visible(text string) string {
	text = termline.Visible(text)
	if !strings.Contains(text, "\t") {
		return text
	}
	var b strings.Builder
	column := 0
	for part := range strings.SplitAfterSeq(text, "\t") {
		word, tab := strings.CutSuffix(part, "\t")
		b.WriteString(word)
		column += width(word)
		if tab {
			n := 8 - column%8
			b.WriteString(strings.Repeat(" ", n))
			column += n
		}
	}
	return b.String()
}

// helpPage lists the keys of this run.
func (m *model) helpPage() *page {
	f := m.fleet
	p := &page{title: "keys"}
	for _, k := range []struct {
		key, does string
		can       bool
	}{
		{"arrows", "move the cursor; also h j k l, PgUp, PgDn, Home, End", true},
		{"Tab", "from the hosts to the groups, and back", true},
		{"Enter", "open the output under the cursor", true},
		{"d", "how that output differs from the most common one", true},
		{"f", "only hosts that failed; again: all", true},
		{"/", "only the hosts of an expression, such as web[1-9],db*", true},
		{"Esc", "all hosts again", true},
		{"s", "stop the command of the host under the cursor", f.can.Stop},
		{"p", "ask before the next batch; again: do not", len(f.batches) > 1},
		{"r", "after the run: run again on the hosts that failed", f.can.Rerun},
		{"w", "after the run: write a report to a file", f.can.Report},
		{"q", "close this view; a run continues below its status line", true},
		{"Ctrl-C", "stop all hosts; a second time: exit at once", true},
		{"Ctrl-Z", "suspend fleetssh", true},
	} {
		if k.can {
			p.lines = append(p.lines, paragraph{plain, fmt.Sprintf("  %-8s %s", k.key, k.does)})
		}
	}
	p.lines = append(p.lines, paragraph{}, paragraph{plain, "Cells: " + legend})
	return p
}
