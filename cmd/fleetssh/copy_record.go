package main

import "fleetssh"

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
	if text := failedText(p); text != "" {
		d.recorder.warn(d.recorder.writer.Output(p.Index, fleetssh.StderrLine.String(), text, false))
	}
	d.copyDisplay.progress(p)
}

func (d *copyRecord) finished(r *result) {
	if r.copied != nil {
		if text := r.copiedText(); text != "" {
			d.recorder.warn(d.recorder.writer.Output(r.index, fleetssh.StdoutLine.String(), text, false))
		}
	}
	d.recorder.warn(d.recorder.writer.End(r.index, journalResult(r)))
	d.copyDisplay.finished(r)
}
