package transfer

import (
	"fmt"
	"sync"
	"time"
)

// The bounds of listings. A listing stays in memory until its files are copied, and while a directory
// is read, the SFTP library holds all of it as the host sent it.
const (
	// The limits of one host, since a hostile one lists without end.
	maxEntries = 4_000_000
	maxListed  = 256 << 20 // bytes received for directories

	// What all hosts of a job may hold at once. Beyond it, they take turns.
	sharedEntries = 400_000
	sharedListed  = 32 << 20
)

var errTooManyNames = fmt.Errorf("the host lists more than %d names, or too much for them", maxEntries)

// turnLimit is how long one host may keep the others waiting. It may be slow, or malicious.
const turnLimit = 30 * time.Second

// listings accounts for the memory of all listings of a job. When the shared limits are reached, one
// host at a time may exceed them. The others wait until it is done, memory is free, or turnLimit has
// passed. So a job needs about as much memory as its largest listing, whatever the number of hosts.
type listings struct {
	mu      sync.Mutex // protects what follows, and the fields of listing
	total   amount
	turn    *listing // the host that may exceed the limits; nil: none
	since   time.Time
	waiting int           // hosts that wait
	changed chan struct{} // closed when a host that waits may try again
}

// amount is the memory that listings take.
type amount struct {
	names int
	bytes int64
}

func (a amount) plus(b amount) amount { return amount{a.names + b.names, a.bytes + b.bytes} }

func (a amount) minus(b amount) amount { return amount{a.names - b.names, a.bytes - b.bytes} }

// listing accounts for the listings of one host.
type listing struct {
	parent    *listings
	quit      <-chan struct{} // closed when the host is given up
	held      amount
	exempt    bool // it may have more than its part of what is shared
	overLimit bool // it was too much
	waiting   int  // requests of the host that wait
}

// newListing returns the account of a host. Closing quit ends its waits. The caller must call close.
func (l *listings) newListing(quit <-chan struct{}) *listing { return &listing{parent: l, quit: quit} }

// reserve adds n to what the host holds. It blocks while other hosts hold too much. It returns
// errTooManyNames if the host exceeds its own limits, and ErrLost if quit is closed.
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

// release subtracts n from what the host holds.
func (o *listing) release(n amount) {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	o.held = o.held.minus(n)
	o.parent.free(n)
}

// free subtracts n from the total and wakes the hosts that wait. mu must be held.
func (l *listings) free(n amount) {
	l.total = l.total.minus(n)
	if l.waiting > 0 && l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// exceeded reports whether the host has exceeded its limits.
func (o *listing) exceeded() bool {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	return o.overLimit
}

// isWaiting reports whether a request of the host waits in reserve. Such a host is not silent: its
// data is not being read.
func (o *listing) isWaiting() bool {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	return o.waiting > 0
}

// close releases everything that the host holds.
func (o *listing) close() {
	o.parent.mu.Lock()
	defer o.parent.mu.Unlock()
	if o.parent.turn == o {
		o.parent.turn = nil
	}
	o.parent.free(o.held)
	o.held = amount{}
}
