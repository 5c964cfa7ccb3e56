package display

import (
	"io"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/fullscreen"
	"fleetssh/cmd/fleetssh/internal/results"
)

// uiHelp is the help text of --ui; what follows says what the normal screen shows afterwards.
const uiHelp = `      --ui                  use the whole terminal: hosts, groups of equal output,
                            live output; ? lists the keys. It stays open until q;
                            then `

// CheckFullScreen refuses --ui if it cannot be shown, or another flag contradicts it.
func (f *Flags) CheckFullScreen(in io.Reader, out io.Writer) error {
	switch {
	case !f.FullScreen:
		return nil
	case f.quiet:
		return exit.UsageError("", "--ui cannot be combined with --quiet: it shows output")
	}
	return checkFullScreen(f.Format, in, out)
}

// CheckFullScreen is the same for a copy.
func (f *CopyFlags) CheckFullScreen(in io.Reader, out io.Writer) error {
	switch {
	case !f.FullScreen:
		return nil
	case f.quiet || f.Verbose:
		return exit.UsageError("", "--ui cannot be combined with -q or -v: it shows the files of each host")
	}
	return checkFullScreen(f.Format, in, out)
}

func checkFullScreen(format string, in io.Reader, out io.Writer) error {
	if format == "json" {
		return exit.UsageError("", "--ui cannot be combined with --format json")
	}
	if err := fullscreen.Check(in, out); err != nil {
		return exit.UsageError("without it, --progress shows how a run goes", "--ui: %v", err)
	}
	return nil
}

// covered wraps a display whose output comes after a full-screen view.
type covered struct {
	Display
	view *fullscreen.View
}

// newCovered returns a display that shows a run on the whole terminal and passes events on to next. It
// is next alone if the terminal is gone.
func newCovered(v View, next Display) (d Display, end func()) {
	view := v.FullScreen
	if err := view.Start(); err != nil {
		v.Screen.Message("fleetssh: error: --ui: " + err.Error())
		return next, func() {}
	}
	return &covered{next, view}, view.End
}

func (d *covered) Show(ev fleetssh.Event) {
	d.view.Show(ev)
	d.Display.Show(ev)
}

func (d *covered) Finished(r *results.Result) {
	d.view.Finished(r)
	d.Display.Finished(r)
}

func (d *covered) Close() {
	if f, ok := d.Display.(*foldDisplay); ok {
		f.recordBlocks() // the record ends before the user closes the view
	}
	d.view.Wait()
	d.view.End()
	d.Display.Close()
}

// coveredCopy is covered for a copy. Hosts that were copied to or from in the same way are a group.
type coveredCopy struct {
	CopyDisplay
	view *fullscreen.View
}

// newCoveredCopy is newCovered for a copy.
func newCoveredCopy(v CopyView, next CopyDisplay) (d CopyDisplay, end func()) {
	if err := v.FullScreen.Start(); err != nil {
		v.Screen.Message("fleetssh: error: --ui: " + err.Error())
		return next, func() {}
	}
	return &coveredCopy{next, v.FullScreen}, v.FullScreen.End
}

func (d *coveredCopy) Progress(p fleetssh.CopyProgress) {
	line := ""
	if p.Ended && p.Err == nil {
		line = copiedFile(p)
	}
	d.view.Copying(p.Index, line)
	if text := results.FailedText(p); text != "" {
		d.view.Show(fleetssh.Event{Kind: fleetssh.StderrLine, Index: p.Index, Text: text})
	}
	d.CopyDisplay.Progress(p)
}

func (d *coveredCopy) Finished(r *results.Result) {
	if text := resultText(r); text != "" {
		d.view.Show(fleetssh.Event{Kind: fleetssh.StdoutLine, Index: r.Index, Text: text})
	}
	d.view.Finished(r)
	d.CopyDisplay.Finished(r)
}

func (d *coveredCopy) Close() {
	d.view.Wait()
	d.view.End()
	d.CopyDisplay.Close()
}
