package display

import (
	"fmt"
	"sync"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
)

// rateWindow is the time over which the rate of a copy is averaged.
const rateWindow = 3 * time.Second

// copyStatus wraps the display of a copy and shows its progress in a status line.
type copyStatus struct {
	CopyDisplay
	CopyView
	line     *statusLine
	stop     chan struct{} // closed to stop measure
	stopOnce sync.Once
	measured chan struct{} // closed when measure has ended

	mu      sync.Mutex // protects what follows
	moved   int64      // bytes, without those of an earlier copy
	open    map[openFile]int64
	seen    []int64 // bytes by host, with those of an earlier copy
	ended   []bool  // by host
	shares  []int64 // bytes to be sent, by host; nil: not known
	samples []rateSample
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

// startCopyStatus returns a display that shows a status line beside another one, nil if there is to be
// none. A full-screen view needs its text in any case.
func startCopyStatus(v CopyView, beside CopyDisplay) *copyStatus {
	n := len(v.Summary.Hosts)
	s := &copyStatus{
		CopyDisplay: beside, CopyView: v, stop: make(chan struct{}), measured: make(chan struct{}),
		open: make(map[openFile]int64), seen: make([]int64, n), ended: make([]bool, n),
		samples: []rateSample{{at: v.Summary.Begun}},
	}
	if s.line = startStatus(v.Screen, v.flags.progress, s.text); s.line == nil && v.FullScreen == nil {
		return nil
	}
	go s.measure()
	return s
}

// measure computes how much there is to copy, if that is known locally.
func (s *copyStatus) measure() {
	defer close(s.measured)
	if s.CopyView.Measure == nil {
		return
	}
	shares := s.CopyView.Measure(s.stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = shares
}

// text returns what the status line says.
func (s *copyStatus) text() statusText {
	text := newStatusText(s.Verb, s.Summary)
	s.mu.Lock()
	defer s.mu.Unlock()
	rate := s.rate(time.Now())
	text.rate = flagvalue.SizeText(rate) + "/s"
	there, all := s.sizes()
	if s.shares == nil {
		text.amount = flagvalue.SizeText(there)
		return text
	}
	text.share, text.left = 1, 0
	if all > 0 {
		text.share = float64(there) / float64(all)
	}
	text.amount = fmt.Sprintf("%d%% of %s", int64(text.share*100), flagvalue.SizeText(all))
	if rate > 0 && text.hosts.Elapsed >= rateWindow {
		text.left = time.Duration(float64(all-there) / float64(rate) * float64(time.Second))
	}
	return text
}

// amountText returns how much has been copied, how fast, and how long it will take, as far as that is known.
func (s *copyStatus) amountText() string {
	text := s.text()
	parts := text.amount
	if h := text.hosts; h.Done+h.Skipped < h.Total {
		parts += ", " + text.rate
		if text.left >= time.Second {
			parts += ", " + leftText(text.left) + " left"
		}
	}
	return parts
}

// sizes returns how many bytes have been copied, and how many there are. The latter is known only if
// the shares of the hosts are. mu must be held.
func (s *copyStatus) sizes() (there, all int64) {
	for i, n := range s.seen {
		there += n
		// A host that has ended receives nothing more.
		if s.shares == nil || s.ended[i] {
			all += n
		} else {
			all += max(n, s.shares[i])
		}
	}
	return there, all
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
	s.stopOnce.Do(func() { close(s.stop) })
	<-s.measured
}
