package dial

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
)

// maxOpening is how many channels to hosts behind it a hop is asked for at once. It is more
// than the default PoolSize: a host that does not answer must not keep others waiting.
const maxOpening = 128

// hops are the connections of a Dialer to hosts that others are reached through, one for each
// [Config] that is a Proxy.
type hops struct {
	mu        sync.Mutex // protects what follows
	open      map[*Config]*hop
	throttles map[string]*throttle // by host and port
	since     time.Time            // a hop that could not be reached before is tried again
	closed    bool
}

// hop is a host that others are reached through.
type hop struct {
	host    *Config
	opening chan struct{} // holds a token for each channel that is being opened

	wg sync.WaitGroup // connections that have died and are being closed

	mu       sync.Mutex // protects what follows
	login    *Login
	pending  *hopDial
	failed   error // of the last dial; forgotten by forgive
	failedAt time.Time
	closed   bool
}

// hopDial is a connection to a hop that is being made.
type hopDial struct {
	done    chan struct{} // closed when what follows is known
	login   *Login
	err     error
	waiting int // protected by hop.mu; at zero the dial is given up
	cancel  context.CancelFunc
}

// to returns the hop of a Proxy. The error is that ctx has ended, or that the hops are closed:
// nobody would close a connection that is made after that.
func (h *hops) to(ctx context.Context, host *Config) (*hop, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, conn.ErrClosed
	}
	if ctx.Err() != nil {
		return nil, deadline.Cause(ctx)
	}
	if h.open == nil {
		h.open = make(map[*Config]*hop)
	}
	p := h.open[host]
	if p == nil {
		p = &hop{host: host, opening: make(chan struct{}, maxOpening)}
		h.open[host] = p
	}
	return p, nil
}

// all returns the hops there are.
func (h *hops) all() []*hop {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*hop, 0, len(h.open))
	for _, p := range h.open {
		all = append(all, p)
	}
	return all
}

// forgive lets hops that could not be reached be tried again, if that was so long ago.
func (h *hops) forgive(age time.Duration) {
	since := time.Now().Add(-age)
	h.mu.Lock()
	defer h.mu.Unlock()
	if since.After(h.since) {
		h.since = since
	}
}

// forgiven reports whether a failure is too old to count.
func (h *hops) forgiven(at time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !at.After(h.since)
}

// close closes the connections to all hops. What goes through them has ended.
func (h *hops) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range h.all() {
		wg.Go(p.close)
	}
	wg.Wait()
}

// drop closes the connections to hops that are not needed any more.
func (h *hops) drop(dropped map[*Config]bool) {
	for again := true; again; {
		again = false
		for _, p := range h.all() {
			if !dropped[p.host] {
				continue
			}
			h.mu.Lock()
			delete(h.open, p.host)
			h.mu.Unlock()
			p.close()
			again = true // it may have opened the hop in front of it meanwhile
		}
	}
}

// throttle returns the throttle of the logins to a hop. All hops at the same address share it.
func (h *hops) throttle(host *Config) *throttle {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.throttles == nil {
		h.throttles = make(map[string]*throttle)
	}
	at := host.address()
	t := h.throttles[at]
	if t == nil {
		t = &throttle{most: mostLogins}
		h.throttles[at] = t
	}
	return t
}

// slowedDown returns the throttle of the logins to a host that is not a hop. It is nil, and
// nothing holds the logins up, as long as the host has not pushed back.
func (h *hops) slowedDown(host *Config) *throttle {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.throttles) == 0 {
		return nil
	}
	return h.throttles[host.address()]
}

// slowDown throttles the logins to a host that has pushed back from now on, whichever entry
// they are for. How many are under way is not known: they were not counted.
func (h *hops) slowDown(host *Config) *throttle {
	t := h.throttle(host)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.most = min(t.most, mostLogins-1)
	return t
}

// connect returns the connection to the hop. It is made once, however many ask for it, with the
// hop's own attempts and time-outs. When that fails, all who asked get the error, and so do
// those who ask later, until forgive. A connection that has died is replaced.
func (p *hop) connect(ctx context.Context, d *Dialer) (*Login, error) {
	p.mu.Lock()
	if p.login != nil && !p.login.Conn.Failed() {
		defer p.mu.Unlock()
		return p.login, nil
	}
	if p.closed {
		defer p.mu.Unlock()
		return nil, p.errClosed()
	}
	if p.failed != nil && !d.hops.forgiven(p.failedAt) {
		defer p.mu.Unlock()
		return nil, p.failed
	}
	o := p.pending
	if o == nil {
		// The dial must not end with the context of the first who asks: others wait too.
		dialing, cancel := context.WithCancel(context.WithoutCancel(ctx))
		o = &hopDial{done: make(chan struct{}), cancel: cancel}
		p.pending = o
		if dead := p.login; dead != nil {
			p.login = nil
			p.wg.Go(func() { dead.Conn.Close() })
		}
		go p.dial(dialing, d, o)
	}
	o.waiting++
	p.mu.Unlock()
	select {
	case <-o.done:
		return o.login, o.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	o.waiting--
	last := o.waiting == 0
	if last && p.pending == o {
		p.pending = nil // the next call starts another
	}
	p.mu.Unlock()
	if last {
		o.cancel()
		<-o.done // the last to leave waits for its end
	}
	return nil, deadline.Cause(ctx)
}

// dial makes the connection to the hop.
func (p *hop) dial(ctx context.Context, d *Dialer, o *hopDial) {
	defer o.cancel()
	login, _, err := d.Dial(ctx, Call{Host: p.host, throttle: d.hops.throttle(p.host)})
	p.mu.Lock()
	wanted := p.pending == o && !p.closed
	switch {
	case !wanted:
	case err != nil:
		p.failed, p.failedAt = err, time.Now()
	default:
		p.login = login
	}
	if p.pending == o {
		p.pending = nil
	}
	p.mu.Unlock()
	if !wanted {
		if err == nil {
			login.Conn.Close()
		}
		login, err = nil, p.errClosed()
	}
	o.login, o.err = login, err
	close(o.done)
}

func (p *hop) errClosed() error { return p.host.failure(NotConnected, phaseConnect, conn.ErrClosed) }

// close closes the connection, for good.
func (p *hop) close() {
	p.mu.Lock()
	login, o := p.login, p.pending
	p.login, p.closed = nil, true
	p.mu.Unlock()
	if o != nil {
		o.cancel()
		<-o.done
	}
	if login != nil {
		login.Conn.Close()
	}
	p.wg.Wait()
}

// errHopLost is why a host could not be reached when the connection to the hop ended meanwhile.
// Another attempt makes a new one.
var errHopLost = errors.New("the connection to it ended")

// openChannel opens a channel to a host behind the hop (direct-tcpip, RFC 4254, section 7.2).
// The clock stands still while others are in front.
func (p *hop) openChannel(ctx context.Context, hop *conn.Conn, host *Config, clock *deadline.Clock) (*hopConn, error) {
	resume := clock.Pause()
	select {
	case p.opening <- struct{}{}:
		defer func() { <-p.opening }()
	case <-ctx.Done():
	}
	resume()
	if ctx.Err() != nil {
		return nil, deadline.Cause(ctx)
	}
	payload := ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host.Host, uint32(host.Port), "127.0.0.1", 0})
	channel, requests, err := hop.Open(ctx, "direct-tcpip", payload)
	if err != nil {
		return nil, err
	}
	conn := newHopConn(hop, channel, requests)
	if conn == nil {
		return nil, errHopLost
	}
	return conn, nil
}
