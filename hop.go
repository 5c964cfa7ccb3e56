package fleetssh

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/dial"
)

// maxOpening is how many channels to hosts behind it a hop is asked for at once.
// It is more than the default PoolSize: a host that does not answer must not keep
// others waiting.
const maxOpening = 128

// hops are the connections of a dialer to hosts that others are reached through,
// one to each *HostConfig that is a Proxy.
type hops struct {
	mu    sync.Mutex // protects what follows
	open  map[*HostConfig]*hop
	paces map[string]*pace // by host and port
	since time.Time        // a hop that could not be reached before is tried again
	over  bool             // closed
}

// hop is a host that others are reached through.
type hop struct {
	host    *HostConfig
	opening chan struct{} // holds a token for each channel that is being opened

	wg sync.WaitGroup // connections that have died and are being closed

	mu       sync.Mutex // protects what follows
	client   *Client
	pending  *hopOpening
	failed   error // of the last opening; forgotten by forgive
	failedAt time.Time
	closed   bool
}

// hopOpening is a connection to a hop that is being made.
type hopOpening struct {
	done    chan struct{} // closed when what follows is known
	client  *Client
	err     error
	waiting int // protected by hop.mu; when nobody waits any more it is given up
	cancel  context.CancelFunc
}

// to returns the hop of a Proxy. The error is that ctx has ended, or the hops are closed: who
// is on the way then must not open what nobody would close.
func (h *hops) to(ctx context.Context, host *HostConfig) (*hop, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil, conn.ErrClosed
	}
	if ctx.Err() != nil {
		return nil, deadline.Cause(ctx)
	}
	if h.open == nil {
		h.open = make(map[*HostConfig]*hop)
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

// hopMemory is for how long it is remembered that a hop could not be reached, in
// calls for one host at a time.
const hopMemory = time.Minute

// forgive lets hops that could not be reached be tried again, if that was so long
// ago.
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
	h.over = true
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range h.all() {
		wg.Go(p.close)
	}
	wg.Wait()
}

// connect returns the connection to the hop. It is made once, however many ask for
// it, with the hop's own attempts and time-outs; when that fails all who asked get
// the error, and those who ask later, until forgive. It is made anew when it has
// died.
func (p *hop) connect(ctx context.Context, d *dialer) (*Client, error) {
	p.mu.Lock()
	if p.client != nil && !p.client.conn.Failed() {
		defer p.mu.Unlock()
		return p.client, nil
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
		// The context of the first who asks is not that of the others.
		opening, cancel := context.WithCancel(context.WithoutCancel(ctx))
		o = &hopOpening{done: make(chan struct{}), cancel: cancel}
		p.pending = o
		if dead := p.client; dead != nil {
			p.client = nil
			p.wg.Go(func() { dead.Close() })
		}
		go p.dial(opening, d, o)
	}
	o.waiting++
	p.mu.Unlock()
	select {
	case <-o.done:
		return o.client, o.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	o.waiting--
	last := o.waiting == 0
	if last && p.pending == o {
		p.pending = nil // who comes now begins anew
	}
	p.mu.Unlock()
	if last {
		o.cancel()
		<-o.done // its end is ours to wait for
	}
	return nil, deadline.Cause(ctx)
}

// dial makes the connection to the hop.
func (p *hop) dial(ctx context.Context, d *dialer, o *hopOpening) {
	defer o.cancel()
	host := *p.host
	client, _, err := d.dial(ctx, &host, d.hops.pace(p.host), nil)
	p.mu.Lock()
	wanted := p.pending == o && !p.closed
	switch {
	case !wanted:
	case err != nil:
		p.failed, p.failedAt = err, time.Now()
	default:
		p.client = client
	}
	if p.pending == o {
		p.pending = nil
	}
	p.mu.Unlock()
	if !wanted {
		if err == nil {
			client.Close()
		}
		client, err = nil, p.errClosed()
	}
	o.client, o.err = client, err
	close(o.done)
}

func (p *hop) errClosed() error {
	return p.host.failure(dial.NotConnected, "connect", conn.ErrClosed)
}

// close closes the connection, for good.
func (p *hop) close() {
	p.mu.Lock()
	client, o := p.client, p.pending
	p.client, p.closed = nil, true
	p.mu.Unlock()
	if o != nil {
		o.cancel()
		<-o.done
	}
	if client != nil {
		client.Close()
	}
	p.wg.Wait()
}

// errHopLost is why a host could not be reached when the connection to the hop
// ended meanwhile. Another attempt makes a new one.
var errHopLost = errors.New("the connection to it ended")

// openChannel opens a channel to a host behind the hop (direct-tcpip, RFC 4254,
// section 7.2). The clock stands still while others are in front.
func (p *hop) openChannel(ctx context.Context, hop *Client, host *HostConfig, clock *deadline.Clock) (*hopConn, error) {
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
	}{host.Host, uint32(host.port()), "127.0.0.1", 0})
	channel, requests, err := hop.conn.Open(ctx, "direct-tcpip", payload)
	if err != nil {
		return nil, err
	}
	conn := newHopConn(hop, channel, requests)
	if conn == nil {
		return nil, errHopLost
	}
	return conn, nil
}

// pace returns that of the logins to a hop, which all hops at the same address
// share.
func (h *hops) pace(host *HostConfig) *pace {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.paces == nil {
		h.paces = make(map[string]*pace)
	}
	at := hostPort(host.Host, host.port())
	p := h.paces[at]
	if p == nil {
		p = &pace{most: fullPace}
		h.paces[at] = p
	}
	return p
}

// paceOf returns the pace of the logins to a host, nil as long as it has not pushed back:
// then nothing holds them up.
func (h *hops) paceOf(host *HostConfig) *pace {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.paces) == 0 {
		return nil
	}
	return h.paces[hostPort(host.Host, host.port())]
}

// slowDown has the logins to a host that has pushed back paced from now on, whichever
// entry they are for. How many are under way is not known: they were not counted.
func (h *hops) slowDown(host *HostConfig) *pace {
	p := h.pace(host)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = min(p.most, fullPace-1)
	return p
}

// keep closes the connections to hops that none of the hosts is behind.
func (h *hops) keep(hosts []HostConfig) {
	needed := make(map[*HostConfig]bool)
	for i := range hosts {
		for p := hosts[i].Proxy; p != nil && !needed[p]; p = p.Proxy {
			needed[p] = true
		}
	}
	for again := true; again; {
		again = false
		for _, p := range h.all() {
			if needed[p.host] {
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
