package display

import (
	"fmt"
	"slices"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
)

// The formats of the personality pssh, which the help does not list. They show output as it arrives,
// or below the line with the result of the host, or not at all.
const (
	psshFormat       = "pssh"
	psshPrint        = "pssh-print"
	psshInline       = "pssh-inline"
	psshInlineStdout = "pssh-inline-stdout"
)

// formatValue is a flag value for formats, including the unlisted ones of personalities.
type formatValue struct {
	flagvalue.Choice
	personalities []string
}

// Set implements [pflag.Value].
func (v formatValue) Set(text string) error {
	if slices.Contains(v.personalities, text) {
		*v.To = text
		return nil
	}
	return v.Choice.Set(text)
}

// psshDisplay shows a line for each host when it ends, in the format of pssh, which scripts parse.
type psshDisplay struct {
	View
	lines  Display    // shows lines as they arrive; nil: they are not shown
	fold   *fold.Fold // stores them until the host ends; nil: they are not stored
	stderr bool       // standard error is stored, too
	ended  int
	failed bool // a line could not be stored
}

func newPsshLines(v View) Display { return &psshDisplay{View: v} }

func newPsshPrint(v View) Display { return &psshDisplay{View: v, lines: NewStream(v)} }

func newPsshInline(v View) Display {
	return &psshDisplay{View: v, fold: fold.New(len(v.Summary.Hosts)), stderr: true}
}

func newPsshInlineStdout(v View) Display {
	return &psshDisplay{View: v, fold: fold.New(len(v.Summary.Hosts))}
}

func (d *psshDisplay) Show(ev fleetssh.Event) {
	stream := fold.Stdout
	switch {
	case d.lines != nil:
		d.lines.Show(ev)
		return
	case d.fold == nil || ev.Kind != fleetssh.StdoutLine && ev.Kind != fleetssh.StderrLine:
		return
	case ev.Err != nil && OutputLost(ev.Err):
		d.Screen.Message("fleetssh: warning: " + ev.Err.Error())
		return
	case ev.Kind == fleetssh.StderrLine:
		stream = fold.Stderr
	}
	if err := d.fold.Line(ev.Index, stream, ev.Text); err != nil && !d.failed {
		d.failed = true
		d.Screen.Message("fleetssh: warning: output could not be kept: " + err.Error())
	}
}

func (d *psshDisplay) Finished(r *results.Result) {
	d.ended++
	d.Screen.Out("", psshLine(d.ended, d.Summary.Hosts[r.Index].Label, r))
	if d.fold == nil {
		return
	}
	d.fold.End(r.Index, "")
	d.fold.Complete() // groups are not needed, and take memory
	g := d.fold.Host(r.Index)
	d.showOutput(g, fold.Stdout, "")
	if d.stderr {
		d.showOutput(g, fold.Stderr, "Stderr: ")
	}
}

// showOutput shows what a host wrote to a stream, with a heading before the first line.
func (d *psshDisplay) showOutput(g fold.Group, s fold.Stream, heading string) {
	err := g.Lines(s, func(line string) bool {
		d.Screen.Out(heading, line)
		heading = ""
		return true
	})
	if err != nil {
		d.Screen.Message("fleetssh: warning: output could not be read back: " + err.Error())
	}
}

func (d *psshDisplay) Close() {
	if d.fold != nil {
		if err := d.fold.Close(); err != nil {
			d.Screen.Message("fleetssh: warning: " + err.Error())
		}
	}
	d.Summary.ShowFailures(d.Screen)
}

// psshLine returns the line of pssh for a host that has ended.
func psshLine(n int, label string, r *results.Result) string {
	state, why := "[FAILURE]", ""
	switch o := r.Outcome; {
	case r.OK:
		state = "[SUCCESS]"
	case o.Kind == fleetssh.Exited:
		why = fmt.Sprint(" Exited with error code ", o.ExitCode)
	case o.Kind == fleetssh.TimedOut:
		why = " Timed out, Killed by signal 9"
	case o.Kind == fleetssh.Cancelled:
		why = " Interrupted"
	case o.Kind == fleetssh.Skipped:
		why = " Cancelled"
	default:
		why = " Exited with error code 255" // the exit code of ssh
	}
	return fmt.Sprintf("[%d] %s %s %s%s", n, time.Now().Format("15:04:05"), state, label, why)
}

// psshCopy shows a line for each host when it ends, as pscp and pslurp do.
type psshCopy struct {
	CopyView
	ended int
}

func (*psshCopy) Progress(fleetssh.CopyProgress) {}

func (d *psshCopy) Finished(r *results.Result) {
	d.ended++
	d.Screen.Out("", psshLine(d.ended, d.Summary.Hosts[r.Index].Label, r))
}

func (d *psshCopy) Close() { d.Summary.ShowFailures(d.Screen) }
