package record

import (
	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/results"
)

// OverCopy returns a display of a copy that records what it shows.
func (r *Recorder) OverCopy(d display.CopyDisplay) display.CopyDisplay {
	if r.writer == nil {
		return d
	}
	return &copyRecord{CopyDisplay: d, recorder: r}
}

type copyRecord struct {
	display.CopyDisplay
	recorder *Recorder
}

func (d *copyRecord) Progress(p fleetssh.CopyProgress) {
	if text := results.FailedText(p); text != "" {
		d.recorder.warn(d.recorder.writer.Output(p.Index, fleetssh.StderrLine.String(), text, false))
	}
	d.CopyDisplay.Progress(p)
}

func (d *copyRecord) Finished(r *results.Result) {
	if r.Copied != nil {
		if text := r.CopiedText(); text != "" {
			d.recorder.warn(d.recorder.writer.Output(r.Index, fleetssh.StdoutLine.String(), text, false))
		}
	}
	d.recorder.warn(d.recorder.writer.End(r.Index, journalResult(r)))
	d.CopyDisplay.Finished(r)
}
