package display

import (
	"fmt"
	"sync"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// rateWindow is the time over which the rate of a copy is averaged.
const rateWindow = 3 * time.Second

// copyStatus wraps the display of a copy and shows its progress in a status line.
type copyStatus struct {
	CopyDisplay
	CopyView
	line     *statusLine
	measured chan struct{} // closed when measure has ended

	mu           sync.Mutex // protects what follows
	done, failed int        // hosts
	skipped      int
	moved        int64 // bytes, without those of an earlier copy
	open         map[openFile]int64
	seen         []int64 // bytes by host, with those of an earlier copy
	ended        []bool  // by host
	shares       []int64 // bytes to be sent, by host; nil: not known
	samples      []rateSample
}

// openFile is a file that is being copied.
type openFile struct {
	host int
	path string
}

// rateSample is how many bytes had been copied at a time.
type rateSample struct {
	at    time.Time
	moved int64
}

func newCopyStatus(v CopyView, beside CopyDisplay) *copyStatus {
	n := len(v.Summary.Hosts)
	s := &copyStatus{
		CopyDisplay: beside, CopyView: v, measured: make(chan struct{}),
		open: make(map[openFile]int64), seen: make([]int64, n), ended: make([]bool, n),
		samples: []rateSample{{at: v.Summary.Begun}},
	}
	s.line = startStatus(v.Screen, s.text)
	go s.measure()
	return s
}

// measure computes how much there is to copy, if that is known locally.
func (s *copyStatus) measure() {
	defer close(s.measured)
	if s.CopyView.Measure == nil {
		return
	}
	shares := s.CopyView.Measure(s.line.stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = shares
}

// text returns the status line.
func (s *copyStatus) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(", %s, %s/s", s.amount(), flagvalue.SizeText(s.rate(time.Now())))
	if s.failed > 0 {
		text += fmt.Sprintf(", %d failed", s.failed)
	}
	if s.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", s.skipped)
	}
	text += ", " + time.Since(s.Summary.Begun).Round(time.Second).String()
	long := fmt.Sprintf("%s: %d of %s done%s", s.Verb, s.done, selection.CountHosts(len(s.ended)), text)
	return fit(s.Screen, withStragglers(long, s.Summary.Outstanding), long, fmt.Sprintf("%s: %d/%d%s", s.Verb, s.done, len(s.ended), text))
}

// amount returns how much has been copied. mu must be held.
func (s *copyStatus) amount() string {
	var there, all int64
	for i, n := range s.seen {
		there += n
		// A host that has ended receives nothing more.
		if s.shares == nil || s.ended[i] {
			all += n
		} else {
			all += max(n, s.shares[i])
		}
	}
	switch {
	case s.shares == nil:
		return flagvalue.SizeText(there)
	case all == 0:
		return "100% of " + flagvalue.SizeText(0)
	}
	return fmt.Sprintf("%d%% of %s", int64(float64(there)/float64(all)*100), flagvalue.SizeText(all))
}

// rate returns the bytes per second during the last rateWindow. mu must be held.
func (s *copyStatus) rate(now time.Time) int64 {
	s.samples = append(s.samples, rateSample{now, s.moved})
	for len(s.samples) > 2 && now.Sub(s.samples[1].at) > rateWindow {
		s.samples = s.samples[1:]
	}
	first := s.samples[0]
	if passed := now.Sub(first.at); passed > 0 {
		return int64(float64(s.moved-first.moved) / passed.Seconds())
	}
	return 0
}

func (s *copyStatus) Progress(p fleetssh.CopyProgress) {
	s.update(p)
	s.CopyDisplay.Progress(p)
}

func (s *copyStatus) update(p fleetssh.CopyProgress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := openFile{p.Index, p.Path}
	before, known := s.open[key]
	s.seen[p.Index] += p.Done - before
	// The first report of a file may include bytes of an earlier copy.
	if !p.Skipped && (known || !s.Resume) {
		s.moved += p.Done - before
	}
	if p.Ended {
		delete(s.open, key)
	} else {
		s.open[key] = p.Done
	}
}

func (s *copyStatus) Finished(r *results.Result) {
	s.mu.Lock()
	s.ended[r.Index] = true
	switch {
	case r.Outcome.Kind == fleetssh.Skipped:
		s.skipped++
	case r.OK:
		s.done++
	default:
		s.done++
		s.failed++
	}
	s.mu.Unlock()
	s.CopyDisplay.Finished(r)
}

func (s *copyStatus) Close() {
	s.end()
	s.CopyDisplay.Close()
}

// end removes the status line. It may be called twice.
func (s *copyStatus) end() {
	s.line.end()
	<-s.measured
}
