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
	mostEntries = 4_000_000
	mostListed  = 256 << 20 // bytes that come while directories are listed

	// What all hosts of a job may list side by side. Beyond it they take turns.
	sharedEntries = 400_000
	sharedListed  = 32 << 20
)

// errEndless is why a listing is given up.
var errEndless = fmt.Errorf("the host lists more than %d names, or too much for them", mostEntries)

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
	all  *listings
	quit <-chan struct{} // closed when the host is given up
	held amount
	more bool // it may have more than its part of what is shared
	over bool // it was too much
	wait int  // requests of the host that wait
}

// begin returns the place of a host, which waits until quit is closed. end must be called
// for it.
func (l *listings) begin(quit <-chan struct{}) *listing { return &listing{all: l, quit: quit} }

// take notes that more is kept, and waits until it may be. The error is that it is too
// much, or that the host is given up.
func (o *listing) take(more amount) error {
	l := o.all
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		held, total := o.held.plus(more), l.total.plus(more)
		if o.over = o.over || held.names > mostEntries || held.bytes > mostListed; o.over {
			return errEndless
		}
		fits := total.names <= sharedEntries && total.bytes <= sharedListed
		if !fits && !o.more && (l.turn == nil || time.Since(l.since) >= turnLimit) {
			l.turn, l.since, o.more = o, time.Now(), true
		}
		if fits || o.more {
			o.held, l.total = held, total
			return nil
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.waiting++
		o.wait++
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
		o.wait--
		select {
		case <-o.quit:
			return ErrLost
		default:
		}
	}
}

// give notes that something is kept no longer.
func (o *listing) give(less amount) {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	o.held = o.held.minus(less)
	o.all.free(less)
}

// free gives room to those who wait. mu must be held.
func (l *listings) free(less amount) {
	l.total = l.total.minus(less)
	if l.waiting > 0 && l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// isOver reports whether the host lists too much.
func (o *listing) isOver() bool {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	return o.over
}

// waits reports whether what the host says has to wait: then it is not the host that is
// silent.
func (o *listing) waits() bool {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	return o.wait > 0
}

// end gives up the place: nothing of the host is kept any more.
func (o *listing) end() {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	if o.all.turn == o {
		o.all.turn = nil
	}
	o.all.free(o.held)
	o.held = amount{}
}
