package transfer

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// recorder is what has become of the files of one host.
type recorder struct {
	report func(Progress) // nil: nobody wants to know

	mu     sync.Mutex // protects what follows
	result Result
	first  error
}

// reportEvery is how often the progress of a file is told.
const reportEvery = 100 * time.Millisecond

// progress is how far one file is.
type progress struct {
	*recorder
	path       string
	total      int64
	done       atomic.Int64
	lastReport atomic.Int64 // when, in nanoseconds
}

func (r *recorder) begin(path string, total int64) *progress {
	p := &progress{recorder: r, path: path, total: total}
	p.lastReport.Store(time.Now().UnixNano())
	return p
}

// resumed notes bytes that were there already.
func (p *progress) resumed(n int64) { p.done.Store(n) }

// carried notes n bytes that were carried over.
func (p *progress) carried(n int) {
	done := p.done.Add(int64(n))
	p.mu.Lock()
	p.result.Bytes += int64(n)
	p.mu.Unlock()
	if p.report == nil {
		return
	}
	now, last := time.Now().UnixNano(), p.lastReport.Load()
	if now-last > int64(reportEvery) && p.lastReport.CompareAndSwap(last, now) {
		p.report(Progress{Path: p.path, Done: done, Total: p.total})
	}
}

// end notes that the file has been copied, or why not.
func (p *progress) end(err error) {
	p.mu.Lock()
	if err == nil {
		p.result.Files++
	} else {
		p.fail(err)
	}
	p.mu.Unlock()
	if p.report != nil {
		p.report(Progress{Path: p.path, Done: p.done.Load(), Total: p.total, Ended: true, Err: err})
	}
}

// fail notes a failure. mu must be held.
func (r *recorder) fail(err error) {
	r.result.Failed++
	if r.first == nil {
		r.first = err
	}
}

// skipped notes a file that was there already.
func (r *recorder) skipped(path string, size int64) {
	r.mu.Lock()
	r.result.Skipped++
	r.mu.Unlock()
	if r.report != nil {
		r.report(Progress{Path: path, Done: size, Total: size, Ended: true, Skipped: true})
	}
}

// deleted notes something that was removed.
func (r *recorder) deleted() {
	r.mu.Lock()
	r.result.Deleted++
	r.mu.Unlock()
}

// failed notes something that could not be copied and was never begun.
func (r *recorder) failed(path string, err error) {
	r.mu.Lock()
	r.fail(err)
	r.mu.Unlock()
	if r.report != nil {
		r.report(Progress{Path: path, Ended: true, Err: err})
	}
}

// listFailed notes what of a tree could not be listed.
func (r *recorder) listFailed(t *tree) {
	for _, e := range t.failed {
		r.failed(e.Path, e)
	}
}

// clean reports whether nothing has gone wrong.
func (r *recorder) clean() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result.Failed == 0
}

// sum returns the result, and the first of what went wrong; or what has ended it all.
func (r *recorder) sum(ended error) (Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ended != nil {
		if _, ofFile := errors.AsType[*Error](ended); ofFile && r.result.Failed == 0 {
			r.result.Failed = 1
		}
		return r.result, ended
	}
	return r.result, r.first
}

// fileError makes an error of one about a file; nil stays nil.
func fileError(op, path string, local bool, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Op: op, Path: path, Local: local, Err: reasonOf(err)}
}
