package fullscreen

import (
	"fmt"

	"fleetssh/cmd/fleetssh/internal/selection"
)

// Abilities are what a view can do besides showing.
type Abilities struct {
	Stop   bool // stop the command of a host
	Rerun  bool // start another run after this one
	Repeat bool // the work can be repeated even if its outcome is unknown
	Report bool // write a report after the run
}

// stop asks whether to stop the command of the host under the cursor.
func (m *model) stop() {
	s, ok := m.subject()
	if !m.fleet.can.Stop || !ok {
		return
	}
	name := m.fleet.labels[s.host]
	switch h := &m.fleet.by[s.host]; {
	case h.state.ended():
		m.message = name + " has ended already"
	case h.output == nil:
		m.message = name + " has not started the command yet"
	default:
		m.question = &question{"stop the command on " + name + "?", func() effect {
			m.stopped = s.host
			return stopHost
		}}
	}
}

// pause makes the run ask before the next batch, or go on.
func (m *model) pause() {
	if !m.fleet.hasNext() {
		m.message = "no batch follows"
		return
	}
	m.fleet.pausing = !m.fleet.pausing
}

// rerun asks whether to run again on the hosts that failed, of those that the filter chooses.
func (m *model) rerun() {
	f := m.fleet
	if !f.can.Rerun {
		return
	}
	var among []int
	for i := range f.by {
		if m.chosen == nil || m.chosen[i] {
			among = append(among, i)
		}
	}
	hosts, left := f.again(among)
	switch {
	case !f.over:
		m.message = "the run has not ended yet"
	case len(hosts) == 0 && left > 0:
		m.message = fmt.Sprintf("the outcome on %s is unknown: fleetssh rerun --include-unknown repeats it", selection.CountHosts(left))
	case len(hosts) == 0:
		m.message = "no host has failed"
	default:
		text := fmt.Sprintf("run again on %s (%d)?", f.fold(hosts), len(hosts))
		if left > 0 {
			text += fmt.Sprintf(" %d left out: outcome unknown", left)
		}
		m.question = &question{text, func() effect {
			m.repeat = hosts
			return rerun
		}}
	}
}

// report asks for the file of the report.
func (m *model) report() {
	switch {
	case !m.fleet.can.Report:
	case !m.fleet.over:
		m.message = "the run has not ended yet"
	default:
		m.input = &input{label: "write the report to", text: "report.html", done: func(text string) effect {
			if text == "" {
				return nothing
			}
			m.file = text
			return saveReport
		}}
	}
}

// actions returns the keys of actions that are possible now, with what they do.
func (m *model) actions() []string {
	f := m.fleet
	var keys []string
	if s, ok := m.subject(); ok && f.can.Stop && f.by[s.host].output != nil {
		keys = append(keys, "s", "stop")
	}
	switch {
	case f.pausing:
		keys = append(keys, "p", "do not pause")
	case f.hasNext() && f.asked == nil:
		keys = append(keys, "p", "pause")
	}
	if f.over && f.can.Rerun && f.count[failed] > 0 {
		keys = append(keys, "r", "rerun failed")
	}
	if f.over && f.can.Report {
		keys = append(keys, "w", "report")
	}
	return keys
}
