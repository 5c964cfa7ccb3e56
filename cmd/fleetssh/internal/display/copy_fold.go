package display

import (
	"slices"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
)

// maxHeldFailures bounds the failures of files that wait to be folded, in bytes. Beyond it, they are
// shown as they come.
const maxHeldFailures = 4 << 20

// copyFold shows the results of the hosts of a batch when all of them have ended, and what is the same
// on several hosts once.
type copyFold struct {
	copyStream
	ends     []int // the index after the last host of each batch
	open     []int // how many hosts of each batch have not ended
	failures fold.Texts[int]
	done     fold.Texts[int]
	held     int // bytes of failures, and of the hosts they are about
}

func newCopyFold(stream copyStream) *copyFold {
	d := &copyFold{copyStream: stream}
	end := 0
	for _, size := range stream.Batches {
		end += size
		d.ends, d.open = append(d.ends, end), append(d.open, size)
	}
	return d
}

func (d *copyFold) Progress(p fleetssh.CopyProgress) {
	text := results.FailedText(p)
	if text == "" {
		return
	}
	if d.held += len(text) + 8; d.held > maxHeldFailures {
		d.failure(d.Summary.Hosts[p.Index].Label, text)
		return
	}
	d.failures.Add(text, p.Index)
}

func (d *copyFold) Finished(r *results.Result) {
	d.stopped = d.stopped || r.Unfinished()
	if text := resultText(r); text != "" && !d.flags.quiet {
		if r.Unfinished() {
			text = r.UnfinishedText() // how far each one came would set it apart
		}
		d.done.Add(text, r.Index)
	}
	batch, _ := slices.BinarySearch(d.ends, r.Index+1)
	if batch == len(d.ends) {
		return
	}
	if d.open[batch]--; d.open[batch] == 0 {
		d.show()
	}
}

// show shows what has been held back.
func (d *copyFold) show() {
	for text, hosts := range d.failures.All() {
		d.failure(d.Summary.Counted(hosts), text)
	}
	for text, hosts := range d.done.BySize() {
		d.out(d.Summary.Counted(hosts), text)
	}
	d.failures, d.done, d.held = fold.Texts[int]{}, fold.Texts[int]{}, 0
}

func (d *copyFold) Close() {
	d.show()
	d.copyStream.Close()
}
