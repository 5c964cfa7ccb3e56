package main

import (
	"errors"

	"fleetssh"
)

// streamDisplay shows each line, behind its host, as it comes.
type streamDisplay struct {
	view
	prefixes []string // of the hosts
}

func newStream(v view) display {
	d := &streamDisplay{view: v, prefixes: make([]string, len(v.tally.hosts))}
	if v.label {
		for i := range d.prefixes {
			d.prefixes[i] = v.tally.hosts[i].label + ": "
		}
	}
	return d
}

func (d *streamDisplay) show(ev fleetssh.Event) {
	if ev.Err != nil && outputLost(ev.Err) {
		d.screen.Message("fleetssh: warning: " + ev.Err.Error())
		return
	}
	switch ev.Kind {
	case fleetssh.StdoutLine:
		d.screen.Out(d.prefixes[ev.Host], ev.Text)
	case fleetssh.StderrLine:
		d.screen.Err(d.prefixes[ev.Host], ev.Text)
	}
}

func (d *streamDisplay) finished(*result) {}

func (d *streamDisplay) close() { d.tally.showFailures(d.screen) }

// outputLost reports whether an event comes instead of output that could not be
// kept, and not with a line that is no text.
func outputLost(err error) bool {
	_, text := errors.AsType[*fleetssh.DecodeError](err)
	return !text
}
