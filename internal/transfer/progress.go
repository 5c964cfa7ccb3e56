package transfer

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// recorder counts what happened to the files of one host and reports their progress.
type recorder struct {
	report func(Progress) // nil: no reports

	mu     sync.Mutex // protects what follows
	result Result
	first  error
}

// reportEvery is the least time between two reports about a file.
const reportEvery = 100 * time.Millisecond

// progress counts the bytes of one file.
type progress struct {
	*recorder
	path       string
	total      int64
	done       atomic.Int64
	lastReport atomic.Int64 // in nanoseconds
}

func (r *recorder) begin(path string, total int64) *progress {
	p := &progress{recorder: r, path: path, total: total}
	p.lastReport.Store(time.Now().UnixNano())
	return p
}

// resumed sets how many bytes existed before the copy.
func (p *progress) resumed(n int64) { p.done.Store(n) }

// carried adds n bytes that were copied.
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

// end records that the file has been copied, or why not.
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

// fail records a failure. mu must be held.
func (r *recorder) fail(err error) {
	r.result.Failed++
	if r.first == nil {
		r.first = err
	}
}

// skipped records a file that is up to date.
func (r *recorder) skipped(path string, size int64) {
	r.mu.Lock()
	r.result.Skipped++
	r.mu.Unlock()
	if r.report != nil {
		r.report(Progress{Path: path, Done: size, Total: size, Ended: true, Skipped: true})
	}
}

// deleted records that Options.Delete removed something.
func (r *recorder) deleted() {
	r.mu.Lock()
	r.result.Deleted++
	r.mu.Unlock()
}

// failed records the failure of a file that was not begun.
func (r *recorder) failed(path string, err error) {
	r.mu.Lock()
	r.fail(err)
	r.mu.Unlock()
	if r.report != nil {
		r.report(Progress{Path: path, Ended: true, Err: err})
	}
}

// listFailed records what could not be listed of a tree.
func (r *recorder) listFailed(t *tree) {
	for _, e := range t.failed {
		r.failed(e.Path, e)
	}
}

// clean reports whether nothing has failed.
func (r *recorder) clean() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result.Failed == 0
}

// sum returns the result and what ended the copy, or else the error of the first file that failed.
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

// fileError turns err into an [*Error] about a file. It keeps nil and errors that are one already.
func fileError(op, path string, local bool, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Op: op, Path: path, Local: local, Err: reasonOf(err)}
}
