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

// maxOpening limits how many channels are being opened through one hop at a time. It exceeds the
// default PoolSize, so that hosts that do not answer do not hold up the others.
const maxOpening = 128

// hops holds the hops of a Dialer, one for each [Config] that is a Proxy.
type hops struct {
	mu         sync.Mutex // protects what follows
	open       map[*Config]*hop
	throttles  map[string]*throttle // by host and port
	retrySince time.Time            // failures until then are forgotten
	closed     bool
}

// hop is a host through which others are reached, and the connection to it.
type hop struct {
	host    *Config
	opening chan struct{} // holds a token for each channel that is being opened

	wg sync.WaitGroup // goroutines that close failed connections

	mu       sync.Mutex // protects what follows
	login    *Login
	pending  *hopDial
	failed   error // the error of the last dial, until hops.retry forgets it
	failedAt time.Time
	closed   bool
}

// hopDial is a running dial to a hop.
type hopDial struct {
	done    chan struct{} // closed when login and err are set
	login   *Login
	err     error
	waiting int // callers that wait, protected by hop.mu; the last to leave cancels the dial
	cancel  context.CancelFunc
}

// to returns the hop for a Proxy. It fails if ctx has ended. It also fails after close, because
// nothing would close a connection that is made later.
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

// all returns all hops.
func (h *hops) all() []*hop {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*hop, 0, len(h.open))
	for _, p := range h.open {
		all = append(all, p)
	}
	return all
}

// retry forgets the failures of hops that are at least as old as age.
func (h *hops) retry(age time.Duration) {
	since := time.Now().Add(-age)
	h.mu.Lock()
	defer h.mu.Unlock()
	if since.After(h.retrySince) {
		h.retrySince = since
	}
}

// forgets reports whether retry has forgotten the failures of a time.
func (h *hops) forgets(at time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !at.After(h.retrySince)
}

// close closes the connections to all hops. The connections through them must be closed already.
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

// drop closes the connections to the given hops.
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
			again = true // a running dial may have added the hop in front of p to h.open again
		}
	}
}

// throttle returns the throttle of a hop. All hops with the same address share one.
func (h *hops) throttle(host *Config) *throttle {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.throttles == nil {
		h.throttles = make(map[string]*throttle)
	}
	at := host.address()
	t := h.throttles[at]
	if t == nil {
		t = &throttle{limit: maxConcurrentLogins}
		h.throttles[at] = t
	}
	return t
}

// slowedDown returns the throttle of a host that is not a hop. It returns nil until slowDown is
// called for its address: logins to the host are not throttled.
func (h *hops) slowedDown(host *Config) *throttle {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.throttles) == 0 {
		return nil
	}
	return h.throttles[host.address()]
}

// slowDown throttles the logins to a host after it dropped a connection. The throttle counts the
// logins that begin from now on; those already running were not counted.
func (h *hops) slowDown(host *Config) *throttle {
	t := h.throttle(host)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = min(t.limit, maxConcurrentLogins-1)
	return t
}

// connect returns the connection to the hop, and dials if there is none or it has failed. All
// callers share one dial, which has the attempts and time-outs of the hop's own Config. If it
// fails, they all get its error, and so do later callers until hops.retry forgets it.
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
	if p.failed != nil && !d.hops.forgets(p.failedAt) {
		defer p.mu.Unlock()
		return nil, p.failed
	}
	o := p.pending
	if o == nil {
		// The dial must not end with the context of its first caller: others wait for it
		// too.
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
		<-o.done // the last caller to leave waits until the dial has ended
	}
	return nil, deadline.Cause(ctx)
}

// dial connects to the hop for o. It closes the connection if nobody waits for it any more.
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

// close closes the connection. There is no new one afterwards.
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

// errHopLost means that the connection to the hop ended while the host was being connected to.
// Another attempt makes a new connection to the hop.
var errHopLost = errors.New("the connection to it ended")

// openChannel opens a channel to a host behind the hop (direct-tcpip, RFC 4254, section 7.2). It
// pauses the clock while it waits for a token of p.opening.
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
