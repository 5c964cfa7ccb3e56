package display

import (
	"errors"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// streamDisplay shows each line as it arrives, after the name of its host.
type streamDisplay struct {
	View
	out, err []string // the prefixes of the lines, by host
}

// NewStream returns a display that shows each line as it arrives, after the name of its host.
func NewStream(v View) Display {
	n := len(v.Summary.Hosts)
	d := &streamDisplay{View: v, out: make([]string, n), err: make([]string, n)}
	if v.Label {
		for i, h := range v.Summary.Hosts {
			d.out[i] = v.Screen.Paint(termline.Label, h.Label) + ": "
			d.err[i] = v.Screen.PaintErr(termline.Failure, h.Label) + ": "
		}
	}
	return d
}

func (d *streamDisplay) Show(ev fleetssh.Event) {
	if ev.Err != nil && OutputLost(ev.Err) {
		d.Screen.Message("fleetssh: warning: " + ev.Err.Error())
		return
	}
	switch ev.Kind {
	case fleetssh.StdoutLine:
		d.Screen.Out(d.out[ev.Index], ev.Text)
	case fleetssh.StderrLine:
		d.Screen.Err(d.err[ev.Index], ev.Text)
	}
}

func (d *streamDisplay) Finished(*results.Result) {}

func (d *streamDisplay) Close() { d.Summary.ShowFailures(d.Screen) }

// OutputLost reports whether the error of an event means that output was lost. Otherwise the line is
// only not valid in the encoding of the host.
func OutputLost(err error) bool {
	_, text := errors.AsType[*fleetssh.DecodeError](err)
	return !text
}

// quietDisplay shows only the failed hosts, at the end.
type quietDisplay struct{ View }

// NewQuiet returns a display that shows only the failed hosts, at the end.
func NewQuiet(v View) Display { return &quietDisplay{v} }

func (*quietDisplay) Show(fleetssh.Event) {}

func (*quietDisplay) Finished(*results.Result) {}

func (d *quietDisplay) Close() { d.Summary.ShowFailures(d.Screen) }
