package transfer

import (
	"fmt"
	"sync"
	"time"
)

// The bounds of what is listed. A listing is kept until what it names is copied, and the
// SFTP library keeps a whole directory, in the words of the host, while it is listed.
const (
	// What one host may list: a hostile one has no end.
	maxEntries = 4_000_000
	maxListed  = 256 << 20 // bytes that come while directories are listed

	// What all hosts of a job may list side by side. Beyond it they take turns.
	sharedEntries = 400_000
	sharedListed  = 32 << 20
)

// errTooManyNames is why a listing is given up.
var errTooManyNames = fmt.Errorf("the host lists more than %d names, or too much for them", maxEntries)

// turnLimit is how long one host may keep the others waiting: it may be slow, or mean to.
const turnLimit = 30 * time.Second

// listings is what the listings of all hosts of a job take. When it is much, one host at a
// time gets more, and the others wait until it is done, there is room, or turnLimit is over:
// the memory of a job is about that of the largest listing, however many hosts there are.
type listings struct {
	mu      sync.Mutex // protects what follows, and the fields of listing
	total   amount
	turn    *listing // who may have more; nil: nobody yet
	since   time.Time
	waiting int           // hosts that wait
	changed chan struct{} // closed when there may be room for one that waits
}

// amount is what listings take.
type amount struct {
	names int
	bytes int64
}

func (a amount) plus(b amount) amount { return amount{a.names + b.names, a.bytes + b.bytes} }

func (a amount) minus(b amount) amount { return amount{a.names - b.names, a.bytes - b.bytes} }

// listing is what the listings of one host take.
type listing struct {
	parent    *listings
	quit      <-chan struct{} // closed when the host is given up
	held      amount
	exempt    bool // it may have more than its part of what is shared
	overLimit bool // it was too much
	waiting   int  // requests of the host that wait
}

// newListing returns the place of a host, which waits until quit is closed. end must be called
// for it.
func (l *listings) newListing(quit <-chan struct{}) *listing { return &listing{parent: l, quit: quit} }

// reserve notes that more is kept, and waits until it may be. The error is that it is too
// much, or that the host is given up.
func (o *listing) reserve(n amount) error {
	l := o.parent
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		held, total := o.held.plus(n), l.total.plus(n)
		if o.overLimit = o.overLimit || held.names > maxEntries || held.bytes > maxListed; o.overLimit {
			return errTooManyNames
		}
		fits := total.names <= sharedEntries && total.bytes <= sharedListed
		if !fits && !o.exempt && (l.turn == nil || time.Since(l.since) >= turnLimit) {
			l.turn, l.since, o.exempt = o, time.Now(), true
		}
		if fits || o.exempt {
			o.held, l.total = held, total
			return nil
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.waiting++
		o.waiting++
		timer := time.NewTimer(time.Until(l.since.Add(turnLimit)))
		l.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
		case <-o.quit:
		}
		timer.Stop()
		l.mu.Lock()
		l.waiting--
		o.waiting--
		select {
		case <-o.quit:
			return ErrLost
		default:
		}
	}
}

// release notes that something is kept no longer.
func (o *listing) release(n amount) {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	o.held = o.held.minus(n)
	o.parent.wake(n)
}

// wake gives room to those who wait. mu must be held.
func (l *listings) wake(n amount) {
	l.total = l.total.minus(n)
	if l.waiting > 0 && l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// exceeded reports whether the host lists too much.
func (o *listing) exceeded() bool {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	return o.overLimit
}

// isWaiting reports whether what the host says has to wait: then it is not the host that is
// silent.
func (o *listing) isWaiting() bool {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	return o.waiting > 0
}

// close gives up the place: nothing of the host is kept any more.
func (o *listing) close() {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	if o.parent.turn == o {
		o.parent.turn = nil
	}
	o.parent.wake(o.held)
	o.held = amount{}
}
