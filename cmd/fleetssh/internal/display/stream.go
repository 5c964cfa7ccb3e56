package display

import (
	"errors"
	"slices"
	"strings"

	"github.com/clipperhouse/displaywidth"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// streamDisplay shows each line as it arrives, after the name of its host.
type streamDisplay struct {
	View
	out, err []string // the prefixes of the lines, by host
}

// NewStream returns a display that shows each line as it arrives, after the name of its host. On a
// terminal the lines are aligned. Elsewhere they are not: programs that read them take the text after
// the label as it is.
func NewStream(v View) Display {
	n := len(v.Summary.Hosts)
	d := &streamDisplay{View: v, out: make([]string, n), err: make([]string, n)}
	if !v.Label {
		return d
	}
	out, err := v.Screen.Terminals()
	padding := labelPadding(v.Summary.Hosts)
	for i, h := range v.Summary.Hosts {
		d.out[i] = v.Screen.Paint(termline.Label, h.Label) + ": "
		d.err[i] = v.Screen.PaintErr(termline.Failure, h.Label) + ": "
		if out {
			d.out[i] += padding(h.Label)
		}
		if err {
			d.err[i] += padding(h.Label)
		}
	}
	return d
}

// LabelPadding returns a function that returns the spaces after a label on standard output, so that
// lines are aligned if it is a terminal.
func LabelPadding(screen *termline.Screen, hosts []selection.Host) func(label string) string {
	if out, _ := screen.Terminals(); !out || len(hosts) == 0 {
		return func(string) string { return "" }
	}
	return labelPadding(hosts)
}

// longerLabel is how much longer than half of the labels a label may be to still make room for it. Lines
// of hosts with longer names are not aligned, so that one long name does not push all lines.
const longerLabel = 8

// labelPadding returns a function that returns the spaces after a label.
func labelPadding(hosts []selection.Host) func(label string) string {
	widths := make([]int, len(hosts))
	for i := range hosts {
		widths[i] = displaywidth.String(hosts[i].Label)
	}
	slices.Sort(widths)
	width := 0
	for _, w := range widths {
		if w <= widths[len(widths)/2]+longerLabel {
			width = w
		}
	}
	return func(label string) string { return strings.Repeat(" ", max(width-displaywidth.String(label), 0)) }
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
