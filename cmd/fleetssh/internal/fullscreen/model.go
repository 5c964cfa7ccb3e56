package fullscreen

import (
	"slices"
	"strings"
	"unicode/utf8"

	"fleetssh/hostset"
)

// pane is a part of the screen that takes keys.
type pane int

// The panes.
const (
	gridPane pane = iota
	groupPane
)

// model is what the user has chosen to see. It has no goroutines and no terminal: keys change it, and
// view renders it.
type model struct {
	fleet         *fleet
	width, height int
	pane          pane
	host          int // the host under the cursor of the grid
	member        int // a host of the group under the cursor of the groups; -1: the first group
	onlyFailed    bool
	filter        string // the expression; empty: all hosts
	chosen        []bool // the hosts of the filter; nil: all
	page          *page  // what covers the screen; nil: nothing
	input         *input // a line that is being typed; nil: none
	question      *question
	message       string // about the last key; empty: none

	stopped int    // the host of the effect stopHost
	repeat  []int  // the hosts of the effect rerun
	file    string // the file of the effect saveReport

	columns int // of the grid, as it was last shown
	rows    int // of the groups, as they were last shown
}

// input is a line that is being typed.
type input struct {
	label string
	text  string
	done  func(text string) effect // called with the line
}

// question is a question that y answers, and any other key declines.
type question struct {
	text string
	yes  func() effect
}

// effect is what a key asks of the program.
type effect int

// The effects of keys.
const (
	nothing effect = iota
	leave
	interrupt
	suspend
	stopHost
	rerun
	saveReport
)

func newModel(f *fleet, width, height int) *model {
	return &model{fleet: f, width: width, height: height, member: -1}
}

// key changes the model by a key, which has a name, such as "up", and perhaps a text.
func (m *model) key(name, text string) effect {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	m.message, m.fleet.notice = "", ""
	switch name {
	case "ctrl+c":
		return interrupt
	case "ctrl+z":
		return suspend
	}
	switch {
	case m.question != nil:
		q := m.question
		if m.question = nil; name == "y" {
			return q.yes()
		}
	case m.input != nil:
		return m.typed(name, text)
	case m.page != nil:
		if m.page.key(name, m.height) {
			m.page = nil
		}
	case name == "q":
		return leave
	case m.fleet.asked != nil && (name == "y" || name == "n" || name == "a"):
		m.fleet.answer(name)
	default:
		m.choose(name)
	}
	return nothing
}

// choose handles a key of the overview.
func (m *model) choose(name string) {
	switch name {
	case "tab", "shift+tab":
		m.pane = groupPane - m.pane
	case "f":
		m.onlyFailed = !m.onlyFailed
	case "/":
		m.input = &input{label: "hosts", text: m.filter, done: m.setFilter}
	case "enter", "o":
		m.open()
	case "d":
		m.diff()
	case "s":
		m.stop()
	case "p":
		m.pause()
	case "r":
		m.rerun()
	case "w":
		m.report()
	case "?":
		m.page = m.helpPage()
	case "esc":
		m.onlyFailed, m.filter, m.chosen = false, "", nil
	default:
		if m.pane == gridPane {
			m.moveHost(name)
		} else {
			m.moveGroup(name)
		}
	}
}

// typed handles a key while a line is being typed.
func (m *model) typed(name, text string) effect {
	in := m.input
	switch name {
	case "enter":
		m.input = nil
		return in.done(in.text)
	case "esc":
		m.input = nil
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(in.text)
		in.text = in.text[:len(in.text)-size]
	case "ctrl+u":
		in.text = ""
	default:
		in.text += strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, text)
	}
	return nothing
}

// setFilter shows only the hosts of an expression.
func (m *model) setFilter(expr string) effect {
	expr = strings.TrimSpace(expr)
	if expr == "" {
		m.filter, m.chosen = "", nil
		return nothing
	}
	set, err := hostset.Parse(expr, m.known)
	if err != nil {
		m.message = err.Error()
		return nothing
	}
	chosen := make([]bool, len(m.fleet.hosts))
	n := 0
	for i := range m.fleet.hosts {
		h := &m.fleet.hosts[i]
		if chosen[i] = set.Contains(h.Name) || set.Contains(h.Label); chosen[i] {
			n++
		}
	}
	if n == 0 {
		m.message = "no host of this run matches " + expr
		return nothing
	}
	m.filter, m.chosen = expr, chosen
	return nothing
}

// known is the only group of the filter: all hosts of the run, for wildcards.
func (m *model) known(name string) (string, error) {
	if name != "*" {
		return "", errNoGroups
	}
	names := make([]string, len(m.fleet.hosts))
	for i := range m.fleet.hosts {
		names[i] = m.fleet.hosts[i].Name
	}
	return strings.Join(names, ","), nil
}

// shows reports whether a host is shown.
func (m *model) shows(i int) bool {
	return (m.chosen == nil || m.chosen[i]) && (!m.onlyFailed || m.fleet.by[i].state == failed)
}

// shown returns the hosts that are shown.
func (m *model) shown() []int {
	hosts := make([]int, 0, len(m.fleet.by))
	for i := range m.fleet.by {
		if m.shows(i) {
			hosts = append(hosts, i)
		}
	}
	return hosts
}

// shownGroups returns the groups that have a host that is shown, with only these hosts.
func (m *model) shownGroups() []group {
	all := m.fleet.odd()
	if m.chosen == nil && !m.onlyFailed {
		return all
	}
	var groups []group
	for _, g := range all {
		var hosts []int
		for _, i := range g.Hosts {
			if m.shows(i) {
				hosts = append(hosts, i)
			}
		}
		if len(hosts) > 0 {
			g.Hosts = hosts
			groups = append(groups, g)
		}
	}
	return groups
}

// step returns where a key moves a cursor among n places in so many columns, with so many rows on a page.
func step(name string, at, n, columns, rows int) int {
	to := at
	switch name {
	case "left", "h":
		to = at - 1
	case "right", "l":
		to = at + 1
	case "up", "k":
		to = at - columns
	case "down", "j":
		to = at + columns
	case "pgup":
		to = max(at-rows*columns, 0)
	case "pgdown":
		to = min(at+rows*columns, n-1)
	case "home", "g":
		to = 0
	case "end", "G":
		to = n - 1
	}
	if to < 0 || to >= n {
		return at
	}
	return to
}

// moveHost moves the cursor of the grid.
func (m *model) moveHost(name string) {
	hosts := m.shown()
	if at := m.hostAt(hosts); at >= 0 {
		m.host = hosts[step(name, at, len(hosts), max(m.columns, 1), max(m.rows, 1))]
	}
}

// hostAt returns the place of the cursor among hosts: of its host, or of the next one. It is negative if
// there are none.
func (m *model) hostAt(hosts []int) int {
	at, _ := slices.BinarySearch(hosts, m.host)
	return min(at, len(hosts)-1)
}

// moveGroup moves the cursor of the groups.
func (m *model) moveGroup(name string) {
	groups := m.shownGroups()
	if len(groups) > 0 {
		m.member = groups[step(name, m.groupAt(groups), len(groups), 1, max(m.rows, 1))].Hosts[0]
	}
}

// groupAt returns the place of the cursor among groups. It follows the host of the chosen group, since
// groups come and move while hosts end.
func (m *model) groupAt(groups []group) int {
	if m.member < 0 {
		return 0
	}
	return max(slices.IndexFunc(groups, func(g group) bool {
		_, found := slices.BinarySearch(g.Hosts, m.member)
		return found
	}), 0)
}

// subject is what the tail, open and diff are about: a host, or a group of which it is one.
type subject struct {
	host  int
	group *group // nil: the host alone
}

// subject returns what the cursor is on. ok is false if nothing is shown.
func (m *model) subject() (s subject, ok bool) {
	if m.pane == groupPane {
		groups := m.shownGroups()
		if len(groups) == 0 {
			return subject{}, false
		}
		g := &groups[m.groupAt(groups)]
		return subject{g.Hosts[0], g}, true
	}
	hosts := m.shown()
	at := m.hostAt(hosts)
	if at < 0 {
		return subject{}, false
	}
	return subject{host: hosts[at]}, true
}
