package main

import (
	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
)

// overCopy returns a display that keeps what it shows of a copy.
func (r *recorder) overCopy(d copyDisplay) copyDisplay {
	if r.writer == nil {
		return d
	}
	return &copyRecord{copyDisplay: d, recorder: r}
}

type copyRecord struct {
	copyDisplay
	recorder *recorder
}

func (d *copyRecord) progress(p fleetssh.CopyProgress) {
	if text := results.FailedText(p); text != "" {
		d.recorder.warn(d.recorder.writer.Output(p.Index, fleetssh.StderrLine.String(), text, false))
	}
	d.copyDisplay.progress(p)
}

func (d *copyRecord) finished(r *results.Result) {
	if r.Copied != nil {
		if text := r.CopiedText(); text != "" {
			d.recorder.warn(d.recorder.writer.Output(r.Index, fleetssh.StdoutLine.String(), text, false))
		}
	}
	d.recorder.warn(d.recorder.writer.End(r.Index, journalResult(r)))
	d.copyDisplay.finished(r)
}
