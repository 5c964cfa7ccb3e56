package fullscreen

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// view renders the model: so many rows as the screen has, joined by line ends. command is the command of
// the run.
func (m *model) view(command string, now time.Time) string {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	var rows []string
	if m.page != nil {
		rows = m.viewPage()
	} else {
		rows = m.overview(command, now)
	}
	rows = rows[:min(len(rows), max(m.height-1, 0))]
	for len(rows) < m.height-1 {
		rows = append(rows, "")
	}
	return strings.Join(append(rows, m.footer()), "\n")
}

// overview renders the hosts, the groups and the tail.
func (m *model) overview(command string, now time.Time) []string {
	rows := m.header(command, now)
	free := max(m.height-1-len(rows)-3, 0) // below three rules, above the footer
	hosts, groups := m.shown(), m.shownGroups()
	labels := m.labelWidth(hosts, free/3)
	m.columns = max(m.width, 1)
	if labels > 0 {
		m.columns = max(m.width/(labels+3), 1)
	}
	needs := (len(hosts) + m.columns - 1) / m.columns
	gridRows, groupRows := share(free, needs, len(groups), m.pane)
	m.rows = gridRows
	if m.pane == groupPane {
		m.rows = groupRows
	}
	rows = append(rows, m.rule(m.gridTitle(len(hosts)), m.pane == gridPane))
	rows = append(rows, m.grid(hosts, labels, gridRows)...)
	rows = append(rows, m.rule(groupTitle(len(groups)), m.pane == groupPane))
	rows = append(rows, m.viewGroups(groups, groupRows)...)
	return append(rows, m.viewTail(free-gridRows-groupRows, now)...)
}

// share divides rows among the grid, which needs some, the groups, and the tail, which gets the rest. The
// pane with the cursor gets more.
func share(rows, needs, groups int, with pane) (grid, group int) {
	least := min(2, rows/3) // for each of the others
	most := rows / 3
	if with == gridPane {
		most = rows - 2*least
	}
	grid = max(min(needs, most), min(1, rows))
	most = (rows - grid) / 2
	if with == groupPane {
		most = (rows - grid) * 2 / 3
	}
	most = min(max(most, least), rows-grid)
	return grid, max(min(max(groups, 1), most), 0)
}

// header returns the first rows: the command, the progress, and the batch with the failure budget.
func (m *model) header(command string, now time.Time) []string {
	f := m.fleet
	elapsed := f.elapsed(now).Truncate(time.Second)
	right := elapsed.String()
	if f.over {
		right = "ended after " + right
	}
	left := pad(termline.Visible(strings.ReplaceAll(command, "\n", " ")), m.width-width(right)-1)
	rows := []string{paint(heading, left) + " " + right, m.progress(now)}
	if text := m.batch(); text != "" {
		s := plain
		if f.budget.Limited && f.count[failed] > f.budget.MaxFailed {
			s = failure
		}
		rows = append(rows, paint(s, clip(text, m.width)))
	}
	return rows
}

// progress returns a bar and how many hosts have ended.
func (m *model) progress(now time.Time) string {
	f := m.fleet
	total := len(f.by)
	text := fmt.Sprintf("%d of %s done", f.done(), selection.CountHosts(total))
	short := fmt.Sprintf("%d/%d", f.done(), total)
	add := func(n int, what string) {
		if n > 0 {
			text += fmt.Sprintf(", %d %s", n, what)
			short += fmt.Sprintf(", %d %s", n, what)
		}
	}
	add(f.count[failed], "failed")
	add(f.count[running]+f.count[connecting], "running")
	add(f.count[skipped], "skipped")
	switch speed := f.rate.perSecond(now, f.elapsed(now)); {
	case f.amount != nil:
		text += ", " + f.amount()
	case speed > 0 && !f.over && f.asked == nil:
		text += fmt.Sprintf(", %s hosts/s", decimal(speed))
		left := time.Duration(float64(total-f.done()-f.count[skipped]) / speed * float64(time.Second))
		if left >= time.Second {
			text += ", " + results.ShortDuration(left.Round(time.Second)) + " left"
		}
	}
	if width(text) > m.width {
		text = clip(short, m.width)
	}
	bar := min(m.width-width(text)-2, 30)
	if bar < 8 || total == 0 {
		return text
	}
	full, bad := bar*f.done()/total, bar*f.count[failed]/total
	if bad == 0 && f.count[failed] > 0 && full > 0 {
		bad = 1
	}
	return paint(failure, strings.Repeat("━", bad)) + paint(success, strings.Repeat("━", full-bad)) + paint(dim, strings.Repeat("─", bar-full)) + "  " + text
}

// decimal formats a number with one digit after the point if it is small.
func decimal(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprint(int(math.Round(x)))
}

// batch returns which batch runs, and how many more hosts may fail. It is empty if there are neither
// batches nor a limit.
func (m *model) batch() string {
	f := m.fleet
	var parts, short []string
	if n := len(f.batches); n > 1 {
		at := fmt.Sprintf("batch %d of %d", f.current+1, n)
		text := at + " (" + selection.CountHosts(f.batches[f.current]) + ")"
		if f.left == 0 {
			text += " is done"
		}
		if f.pausing && f.asked == nil {
			text += ", pause before the next"
		}
		parts, short = append(parts, text), append(short, at)
	}
	if f.budget.Limited {
		parts = append(parts, fmt.Sprintf("%d failed, the budget is %d", f.count[failed], f.budget.MaxFailed))
		short = append(short, fmt.Sprintf("%d/%d failed", f.count[failed], f.budget.MaxFailed))
	}
	if text := strings.Join(parts, ", "); width(text) <= m.width {
		return text
	}
	return strings.Join(short, ", ")
}

// rule returns a line with a title, which divides the screen.
func (m *model) rule(title string, chosen bool) string {
	s := dim
	if chosen {
		s = heading
	}
	title = clip(title, m.width-6)
	return paint(dim, "── ") + paint(s, title) + paint(dim, " "+strings.Repeat("─", max(m.width-4-width(title), 0)))
}

// gridTitle returns the title of the grid, with what is left out.
func (m *model) gridTitle(n int) string {
	title := fmt.Sprintf("hosts (%d", n)
	if total := len(m.fleet.by); n != total {
		title += fmt.Sprintf(" of %d", total)
	}
	title += ")"
	if m.onlyFailed {
		title += ", only failed"
	}
	if m.filter != "" {
		title += ", only " + termline.Visible(m.filter)
	}
	return title
}

// footer returns the last row: a line that is being typed, a message, or the keys.
func (m *model) footer() string {
	switch {
	case m.input != nil:
		text := m.input.label + ": " + termline.Visible(m.input.text)
		if over := width(text) - m.width + 2; over > 0 { // the end matters
			text = "…" + tailOf(text, m.width-3)
		}
		return text + paint(cursor, " ")
	case m.question != nil:
		return paint(active, clip(m.question.text, m.width-18)) + " y: yes, else no"
	case m.message != "":
		return paint(active, clip(termline.Visible(m.message), m.width))
	case m.fleet.asked != nil && m.page == nil:
		const keys = " y: yes, n: stop here, a: all"
		return paint(active, clip(m.fleet.asked.text, m.width-len(keys))) + clip(keys, m.width)
	case m.fleet.notice != "":
		return paint(active, clip(termline.Visible(m.fleet.notice), m.width))
	case m.page != nil:
		return keyLine(m.width, []string{"q", "back", "arrows", "scroll", "Home", "first line", "End", "last line"})
	}
	other, all := "groups", "only failed"
	if m.pane == groupPane {
		other = "hosts"
	}
	if m.onlyFailed {
		all = "all"
	}
	return keyLine(m.width, slices.Concat([]string{"q", "close", "?", "keys"}, m.actions(), []string{"Tab", other, "Enter", "open", "d", "diff", "f", all, "/", "filter"}))
}

// keyLine returns as many keys with what they do as fit.
func keyLine(columns int, keys []string) string {
	var line string
	for at, i := 0, 0; i+1 < len(keys); i += 2 {
		key, does := keys[i], keys[i+1]
		if at += width(key) + width(does) + 3; at > columns+2 {
			break
		}
		if line != "" {
			line += "  "
		}
		line += paint(heading, key) + " " + paint(dim, does)
	}
	return line
}

// tailOf returns the last columns of text.
func tailOf(text string, columns int) string {
	for i := range text {
		if width(text[i:]) <= columns {
			return text[i:]
		}
	}
	return ""
}

// viewPage renders the page.
func (m *model) viewPage() []string {
	p := m.page
	rows := []string{m.rule(p.title, true)}
	for _, l := range p.lines[min(p.top, len(p.lines)):] {
		for _, row := range wrap(l.text, max(m.width, 1)) {
			rows = append(rows, paint(l.style, row))
		}
		if len(rows) >= m.height {
			break
		}
	}
	return rows
}
