package display

import (
	"io"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/fullscreen"
	"fleetssh/cmd/fleetssh/internal/results"
)

// CheckFullScreen refuses --ui if it cannot be shown, or another flag contradicts it.
func (f *Flags) CheckFullScreen(in io.Reader, out io.Writer) error {
	switch {
	case !f.FullScreen:
		return nil
	case f.Format == "json":
		return exit.UsageError("", "--ui cannot be combined with --format json")
	case f.quiet:
		return exit.UsageError("", "--ui cannot be combined with --quiet: it shows output")
	}
	if err := fullscreen.Check(in, out); err != nil {
		return exit.UsageError("--progress and --fold work without it", "--ui: %v", err)
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
func newCovered(v View, next Display, format string) (d Display, end func()) {
	if format == "fold" {
		v.FullScreen.Ended = nil // the record takes blocks until they are shown
	}
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
	d.view.Wait()
	d.view.End()
	d.Display.Close()
}
