package main

import (
	"errors"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// streamDisplay shows each line, behind its host, as it comes.
type streamDisplay struct {
	view
	out, err []string // what stands before the lines of each host
}

func newStream(v view) display {
	n := len(v.tally.Hosts)
	d := &streamDisplay{view: v, out: make([]string, n), err: make([]string, n)}
	if v.label {
		for i, h := range v.tally.Hosts {
			d.out[i] = v.screen.Paint(termline.Label, h.Label) + ": "
			d.err[i] = v.screen.PaintErr(termline.Trouble, h.Label) + ": "
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
		d.screen.Out(d.out[ev.Host], ev.Text)
	case fleetssh.StderrLine:
		d.screen.Err(d.err[ev.Host], ev.Text)
	}
}

func (d *streamDisplay) finished(*results.Result) {}

func (d *streamDisplay) close() { d.tally.ShowFailures(d.screen) }

// outputLost reports whether an event comes instead of output that could not be
// kept, and not with a line that is no text.
func outputLost(err error) bool {
	_, text := errors.AsType[*fleetssh.DecodeError](err)
	return !text
}
