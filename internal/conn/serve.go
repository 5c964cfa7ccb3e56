package conn

import (
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// handover passes channels and requests of the host on to the [ssh.Client] of [Conn.SSH].
type handover struct {
	channels chan ssh.NewChannel // nil: there is no ssh.Client
	requests chan *ssh.Request   // likewise
}

func (h handover) close() {
	close(h.channels)
	close(h.requests)
}

// service is the state of serve.
type service struct {
	c        *Conn
	channels <-chan ssh.NewChannel // nil: there are no more
	requests <-chan *ssh.Request   // likewise
	prober   prober
	ticker   *time.Ticker    // nil: the host is not probed
	answered chan struct{}   // closed when the answer has been sent; nil: nothing is being answered
	channel  ssh.NewChannel  // to be handed over
	request  *ssh.Request    // likewise
	failed   <-chan struct{} // closed when the transport has failed; nil: that has been handled
	grace    *time.Timer     // runs from then on
}

// serve handles channels and requests of the host, and probes it, until the connection ends. It
// is the only goroutine of an idle connection besides the goroutines of the SSH library, because its
// stack is most of what an idle connection costs. It never blocks: other goroutines send the
// answers. While an answer cannot be sent, or the ssh.Client does not take what is handed over,
// serve accepts nothing more from the host.
func (c *Conn) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	s := &service{c: c, channels: channels, requests: requests, failed: c.wire.failed}
	s.prober.conn, s.prober.every = c, c.keepAlive
	if c.keepAlive > 0 {
		s.ticker = time.NewTicker(c.keepAlive)
	}
	for s.channels != nil || s.requests != nil {
		s.next()
	}
	if s.ticker != nil {
		s.ticker.Stop()
	}
	if s.grace != nil {
		s.grace.Stop()
	}
	c.finish()
}

// next handles one event.
func (s *service) next() {
	channels, requests, to := s.channels, s.requests, s.c.sshHandover()
	if s.answered != nil || s.channel != nil || s.request != nil {
		channels, requests = nil, nil
	}
	if s.channel == nil {
		to.channels = nil
	}
	if s.request == nil {
		to.requests = nil
	}
	var tick, graceOver <-chan time.Time
	if s.ticker != nil {
		tick = s.ticker.C
	}
	if s.grace != nil {
		graceOver = s.grace.C
	}
	select {
	case ch, ok := <-channels:
		if ok {
			s.handleChannel(ch)
		} else {
			s.channels = nil
		}
	case req, ok := <-requests:
		if ok {
			s.handleRequest(req)
		} else {
			s.requests = nil
		}
	case to.channels <- s.channel:
		s.channel = nil
	case to.requests <- s.request:
		s.request = nil
	case <-s.answered:
		s.answered = nil
	case <-s.failed: // nobody will take what was to be handed over
		s.failed, s.channel, s.request = nil, nil, nil
		s.c.drainIdle()
		s.grace = time.NewTimer(CloseGrace)
	case <-graceOver:
		// The library waits until the requests of every channel are received, and nobody may
		// receive those of channels that were opened with SSH.
		go Drain(s.channels, s.requests)
		s.channels, s.requests = nil, nil
	case <-tick:
		s.probe()
	}
}

// handleChannel handles a channel that the host opens.
func (s *service) handleChannel(ch ssh.NewChannel) {
	ours, err := s.c.incoming(ch)
	switch {
	case err != nil:
		s.answer(func() { ch.Reject(ssh.ResourceShortage, err.Error()) })
	case ours:
	case s.c.agent != nil && ch.ChannelType() == agentChannel:
		if !s.c.agent.accept(s.c, ch) {
			s.answer(func() { ch.Reject(ssh.ResourceShortage, "too many channels to the agent") })
		}
	case s.c.sshHandover().channels == nil:
		s.answer(func() { ch.Reject(ssh.Prohibited, "not asked for") })
	case s.failed != nil:
		s.channel = ch
	}
}

// handleRequest handles a global request of the host.
func (s *service) handleRequest(req *ssh.Request) {
	switch {
	case s.c.sshHandover().requests == nil:
		if req.WantReply {
			s.answer(func() { req.Reply(false, nil) })
		}
	case s.failed != nil:
		s.request = req
	}
}

// answer calls f, which answers the host, in a goroutine of its own.
func (s *service) answer(f func()) {
	answered := make(chan struct{})
	s.answered = answered
	s.c.wg.Go(func() { f(); close(answered) })
}

// probe probes the host, and closes the connection if the host is dead.
func (s *service) probe() {
	if s.prober.tick() {
		return
	}
	s.c.debug("host does not answer")
	s.c.wire.fail(&Error{Text: "the host has not answered for " + s.prober.waited().String(), Err: net.ErrClosed})
	s.c.Link().Close()
}

// Drain receives and drops channels and requests until the connection has ended: the SSH library
// blocks until somebody receives them.
func Drain(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	for channels != nil || requests != nil {
		select {
		case _, ok := <-channels:
			if !ok {
				channels = nil
			}
		case _, ok := <-requests:
			if !ok {
				requests = nil
			}
		}
	}
}

// SetIdle registers a session on which nothing has been started yet. Nobody receives its
// requests; when there are more than the library buffers, they block the whole connection, so
// they are drained when the transport has failed.
func (c *Conn) SetIdle(ch *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wire.Failed() {
		go ssh.DiscardRequests(ch.Requests) // drainIdle may have run already
		return
	}
	ch.idleIndex = len(c.idle)
	c.idle = append(c.idle, ch)
}

// SetUsed undoes SetIdle: the caller receives the requests of the session.
func (c *Conn) SetUsed(ch *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if ch.idleIndex > last || c.idle[ch.idleIndex] != ch {
		return
	}
	c.idle[ch.idleIndex] = c.idle[last]
	c.idle[ch.idleIndex].idleIndex = ch.idleIndex
	c.idle = slices.Delete(c.idle, last, last+1)
}

// drainIdle discards the requests of all idle sessions.
func (c *Conn) drainIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.idle {
		requests := ch.Requests
		c.wg.Go(func() { ssh.DiscardRequests(requests) })
	}
	c.idle = nil
}

// finish marks the connection as ended.
func (c *Conn) finish() {
	c.mu.Lock()
	close(c.done)
	c.conn = newDoneConn(c.conn)
	if c.ssh != nil {
		c.toSSH.close()
	}
	c.mu.Unlock()
	if c.agent != nil {
		c.agent.stop()
	}
	if c.onDone != nil {
		c.onDone()
	}
	c.debug("connection ended")
}

func (c *Conn) sshHandover() handover {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.toSSH
}
