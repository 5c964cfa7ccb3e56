package conn

import (
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// handover takes what the host asks for to the ssh.Client, once there is one.
type handover struct {
	channels chan ssh.NewChannel
	requests chan *ssh.Request
}

// service is what a Conn does for its host while nothing else goes on. It is one goroutine for
// everything: its stack is most of what an idle connection costs.
type service struct {
	c        *Conn
	channels <-chan ssh.NewChannel // nil: there are no more
	requests <-chan *ssh.Request   // likewise
	heart    pulse
	ticker   *time.Ticker    // nil: the host is not probed
	said     chan struct{}   // closed when what was to be said is; nil: there is nothing
	channel  ssh.NewChannel  // to be handed over
	request  *ssh.Request    // likewise
	ended    <-chan struct{} // nil: it has
	late     *time.Timer     // runs from then on
}

// serve handles what the host asks for, and probes the host, until the connection ends. It is
// the one goroutine of an idle connection besides those of the SSH library, and never blocks:
// another goroutine sends the answers. While an answer cannot be sent, or an ssh.Client does
// not take what it should, serve accepts nothing more from the host.
func (c *Conn) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	s := &service{c: c, channels: channels, requests: requests, ended: c.wire.ended}
	s.heart.conn, s.heart.every = c, c.keepAlive
	if s.heart.every > 0 {
		s.ticker = time.NewTicker(s.heart.every)
	}
	for s.channels != nil || s.requests != nil {
		s.next()
	}
	if s.ticker != nil {
		s.ticker.Stop()
	}
	if s.late != nil {
		s.late.Stop()
	}
	c.finish()
}

// next waits for one thing.
func (s *service) next() {
	opened, asked, to := s.channels, s.requests, s.c.handed()
	if s.said != nil || s.channel != nil || s.request != nil {
		opened, asked = nil, nil
	}
	if s.channel == nil {
		to.channels = nil
	}
	if s.request == nil {
		to.requests = nil
	}
	var tick, late <-chan time.Time
	if s.ticker != nil {
		tick = s.ticker.C
	}
	if s.late != nil {
		late = s.late.C
	}
	select {
	case ch, ok := <-opened:
		if ok {
			s.takeChannel(ch)
		} else {
			s.channels = nil
		}
	case req, ok := <-asked:
		if ok {
			s.takeRequest(req)
		} else {
			s.requests = nil
		}
	case to.channels <- s.channel:
		s.channel = nil
	case to.requests <- s.request:
		s.request = nil
	case <-s.said:
		s.said = nil
	case <-s.ended: // what there was to hand over, nobody will take any more
		s.ended, s.channel, s.request = nil, nil, nil
		s.c.dropIdle()
		s.late = time.NewTimer(CloseGrace)
	case <-late:
		// Channels that were opened with SSH are not served: the library waits for
		// whoever has opened them.
		go Drain(s.channels, s.requests)
		s.channels, s.requests = nil, nil
	case <-tick:
		s.beat()
	}
}

// takeChannel handles a channel that the host opens.
func (s *service) takeChannel(ch ssh.NewChannel) {
	ours, err := s.c.incoming(ch)
	switch {
	case err != nil:
		s.say(func() { ch.Reject(ssh.ResourceShortage, err.Error()) })
	case ours:
	case s.c.agent != nil && ch.ChannelType() == agentChannel:
		if !s.c.agent.accept(s.c, ch) {
			s.say(func() { ch.Reject(ssh.ResourceShortage, "too many channels to the agent") })
		}
	case s.c.handed().channels == nil:
		s.say(func() { ch.Reject(ssh.Prohibited, "not asked for") })
	case s.ended != nil:
		s.channel = ch
	}
}

// takeRequest handles a global request of the host.
func (s *service) takeRequest(req *ssh.Request) {
	switch {
	case s.c.handed().requests == nil:
		if req.WantReply {
			s.say(func() { req.Reply(false, nil) })
		}
	case s.ended != nil:
		s.request = req
	}
}

// say has f answer the host.
func (s *service) say(f func()) {
	said := make(chan struct{})
	s.said = said
	s.c.wg.Go(func() { f(); close(said) })
}

// beat closes the connection if the host is dead.
func (s *service) beat() {
	if s.heart.beat() {
		return
	}
	s.c.debug("host does not answer")
	s.c.wire.end(&Error{Text: "the host has not answered for " + s.heart.waited().String(), Err: net.ErrClosed})
	s.c.Link().Close()
}

// Drain receives and drops what comes until the connection has ended: the SSH library blocks
// until somebody receives it.
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

// SetIdle notes that nothing has been started on a session yet. Nobody serves its requests:
// more of them than the library buffers block the whole connection, and its end.
func (c *Conn) SetIdle(ch *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.wire.ended:
		go ssh.DiscardRequests(ch.Requests) // dropIdle has been there
		return
	default:
	}
	ch.idleAt = len(c.idle)
	c.idle = append(c.idle, ch)
}

// SetUsed notes that somebody serves the requests of a session.
func (c *Conn) SetUsed(ch *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if ch.idleAt > last || c.idle[ch.idleAt] != ch {
		return
	}
	c.idle[ch.idleAt] = c.idle[last]
	c.idle[ch.idleAt].idleAt = ch.idleAt
	c.idle = slices.Delete(c.idle, last, last+1)
}

// dropIdle serves the requests of all sessions that nobody serves.
func (c *Conn) dropIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.idle {
		requests := ch.Requests
		c.wg.Go(func() { ssh.DiscardRequests(requests) })
	}
	c.idle = nil
}

// finish notes that the connection is gone.
func (c *Conn) finish() {
	c.mu.Lock()
	close(c.done)
	c.conn = newEndedConn(c.conn)
	if c.ssh != nil {
		close(c.hand.channels)
		close(c.hand.requests)
	}
	c.mu.Unlock()
	if c.agent != nil {
		c.agent.stop()
	}
	if c.ended != nil {
		c.ended()
	}
	c.debug("connection ended")
}

func (c *Conn) handed() handover {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hand
}
