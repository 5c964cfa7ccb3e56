package fullscreen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// cells are how hosts look in the grid, by state: they differ without colours, too.
var cells = [states]struct {
	text  string
	style style
}{
	waiting: {"·", dim}, connecting: {"○", plain}, running: {"●", active}, succeeded: {"■", success}, failed: {"✗", failure}, skipped: {"-", dim},
}

// legend explains the cells.
const legend = "· waiting  ○ connecting  ● running  ■ done  ✗ failed  - skipped"

// labelWidth returns how many columns the name of a host gets beside its cell, 0 if the names of the
// hosts do not fit so many rows.
func (m *model) labelWidth(hosts []int, rows int) int {
	if len(hosts) > m.width*rows/4 { // not even names of one character
		return 0
	}
	longest := 0
	for _, i := range hosts {
		longest = max(longest, width(m.fleet.labels[i]))
	}
	columns := m.width / (longest + 3)
	if columns == 0 || (len(hosts)+columns-1)/columns > rows {
		return 0
	}
	return longest
}

// grid renders hosts as cells, with the row of the cursor.
func (m *model) grid(hosts []int, labels, rows int) []string {
	if len(hosts) == 0 {
		return fill([]string{paint(dim, clip("no host", m.width))}, rows)
	}
	at := m.hostAt(hosts)
	total := (len(hosts) + m.columns - 1) / m.columns
	first := scroll(at/m.columns, total, rows)
	var lines []string
	for row := first; row < min(first+rows, total); row++ {
		from := row * m.columns
		var b strings.Builder
		m.cells(&b, hosts[from:min(from+m.columns, len(hosts))], labels, at-from)
		lines = append(lines, b.String())
	}
	return fill(lines, rows)
}

// cells renders a row of cells. Neighbours of one style share a sequence.
func (m *model) cells(b *strings.Builder, hosts []int, labels, at int) {
	for i := 0; i < len(hosts); {
		s := m.fleet.by[hosts[i]].state
		n := i
		var text strings.Builder
		for ; n < len(hosts) && m.fleet.by[hosts[n]].state == s && (n != at || n == i); n++ {
			text.WriteString(cells[s].text)
			if labels > 0 {
				text.WriteString(" " + pad(m.fleet.labels[hosts[n]], labels) + " ")
			}
			if n == at && m.pane == gridPane {
				n++
				break
			}
		}
		shown := paint(cells[s].style, text.String())
		if i == at && m.pane == gridPane {
			shown = paint(cursor, shown)
			if cells[s].style != plain { // the end of the inner style ends the outer one as well
				shown = "\x1b[7;" + codes[cells[s].style] + "m" + text.String() + "\x1b[m"
			}
		}
		b.WriteString(shown)
		i = n
	}
}

// scroll returns the first of total rows that is shown so that a row is visible among so many.
func scroll(row, total, rows int) int {
	return max(min(row-rows/2, total-rows), 0)
}

// fill makes lines as many as rows.
func fill(lines []string, rows int) []string {
	lines = lines[:min(len(lines), rows)]
	for len(lines) < rows {
		lines = append(lines, "")
	}
	return lines
}

// groupTitle returns the title of the groups.
func groupTitle(n int) string {
	if n == 1 {
		return "1 group of equal output"
	}
	return fmt.Sprintf("%d groups of equal output", n)
}

// viewGroups renders the groups, with the row of the cursor.
func (m *model) viewGroups(groups []group, rows int) []string {
	if len(groups) == 0 {
		return fill([]string{paint(dim, clip("no host has ended yet", m.width))}, rows)
	}
	at := m.groupAt(groups)
	first := 0
	if m.pane == groupPane {
		first = scroll(at, len(groups), rows)
	}
	groups = groups[first:min(first+rows, len(groups))]
	names, longest := make([]string, len(groups)), 0
	for i := range groups {
		names[i] = m.fleet.fold(groups[i].Hosts)
		longest = max(longest, width(names[i]))
	}
	longest = min(longest, m.width*2/5)
	usual := m.usual()
	lines := make([]string, len(groups))
	for i := range groups {
		line := clip(fmt.Sprintf("%5d  %s  ", len(groups[i].Hosts), pad(names[i], longest)), m.width)
		text, s := m.preview(&groups[i], usual)
		text = clip(text, m.width-width(line))
		if m.pane == groupPane && first+i == at {
			lines[i] = paint(cursor, pad(line+text, m.width))
		} else {
			lines[i] = line + paint(s, text)
		}
	}
	return fill(lines, rows)
}

// previewLines is how many lines of a group are compared with the most common output.
const previewLines = 100

// usual returns the first lines of the most common output.
func (m *model) usual() []string {
	common := m.fleet.common()
	if common == nil {
		return nil
	}
	return firstLines(common, previewLines)
}

// firstLines returns the first lines of a group, those of standard output first.
func firstLines(g *group, most int) []string {
	var lines []string
	for _, stream := range []fold.Stream{fold.Stdout, fold.Stderr} {
		// If the lines cannot be read back, the preview is empty, and opening the group says why.
		_ = g.Lines(stream, func(text string) bool {
			if len(lines) < most {
				lines = append(lines, text)
			}
			return len(lines) < most
		})
	}
	return lines
}

// preview returns how a group failed, or its first line that the most common output has not.
func (m *model) preview(g *group, usual []string) (string, style) {
	switch g.state {
	case skipped:
		return "skipped", dim
	case failed:
		h := &m.fleet.by[g.Hosts[0]]
		text := termline.Visible(h.title)
		if h.reason != "" {
			return text + ": " + visible(h.reason), failure
		}
		if l, ok := lastComplaint(h.tail.last(previewLines)); ok {
			text += ": " + visible(l.text)
		}
		return text, failure
	}
	lines := firstLines(g, previewLines)
	if len(lines) == 0 {
		return "no output", dim
	}
	for i, text := range lines {
		if i >= len(usual) || text != usual[i] {
			return visible(text), plain
		}
	}
	if slices.Equal(lines, usual) {
		return visible(lines[0]), plain
	}
	return fmt.Sprintf("only the first %d lines of the most common output", len(lines)), plain
}

// lastComplaint returns the last line of standard error, or the last line if there is none: the two
// streams arrive in any order.
func lastComplaint(lines []line) (l line, ok bool) {
	for _, l := range slices.Backward(lines) {
		if l.stream == fold.Stderr {
			return l, true
		}
	}
	if len(lines) == 0 {
		return line{}, false
	}
	return lines[len(lines)-1], true
}

// viewTail renders the last lines of what the cursor is on, below a rule with its name.
func (m *model) viewTail(rows int, now time.Time) []string {
	s, ok := m.subject()
	if !ok {
		return append([]string{m.rule("no host chosen", false)}, fill(nil, rows)...)
	}
	status := m.fleet.status(s.host, now)
	title := m.title(s)
	if s.group != nil && s.group.state == succeeded {
		status = m.fleet.success
	}
	lines := []string{m.rule(clip(title, m.width/2)+": "+visible(status), false)}
	for _, l := range m.fleet.by[s.host].tail.last(rows) {
		lines = append(lines, paint(streamStyle(l.stream), clip(visible(l.text), m.width)))
	}
	return fill(lines, rows+1)
}
