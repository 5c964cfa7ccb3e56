package fleetssh

import (
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// handover takes what the host asks for to the ssh.Client, once there is one.
type handover struct {
	channels chan ssh.NewChannel
	requests chan *ssh.Request
}

// serve takes what the host asks for and probes it, until the connection ends. It is the
// one goroutine of an idle client beside those of the SSH library, and waits for nobody:
// what it answers, another one says, and while that cannot be said, or an ssh.Client does
// not take what is its, no more is taken from the host.
func (c *Client) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	defer c.finish()
	var tick, late <-chan time.Time
	heart := &pulse{client: c, every: c.host.keepAlive()}
	// A master keeps its connection alive itself, and does not hand probes on.
	if heart.every > 0 && c.login.Master == "" {
		ticker := time.NewTicker(heart.every)
		defer ticker.Stop()
		tick = ticker.C
	}
	said := make(chan struct{}, 1) // gets a token when what was to be said is
	var saying bool
	say := func(f func()) {
		saying = true
		c.wg.Go(func() { f(); said <- struct{}{} })
	}
	var channel ssh.NewChannel // to be handed over
	var request *ssh.Request   // likewise
	ended := (<-chan struct{})(c.wire.ended)
	for channels != nil || requests != nil {
		opened, asked, to := channels, requests, c.handed()
		if saying || channel != nil || request != nil {
			opened, asked = nil, nil
		}
		if channel == nil {
			to.channels = nil
		}
		if request == nil {
			to.requests = nil
		}
		select {
		case ch, ok := <-opened:
			if !ok {
				channels = nil
				continue
			}
			ours, err := c.listeners.accept(ch)
			switch {
			case err != nil:
				say(func() { ch.Reject(ssh.ResourceShortage, err.Error()) })
			case ours:
			case c.agent != nil && ch.ChannelType() == agentChannel:
				if !c.agent.accept(c, ch) {
					say(func() { ch.Reject(ssh.ResourceShortage, "too many channels to the agent") })
				}
			case c.handed().channels == nil:
				say(func() { ch.Reject(ssh.Prohibited, "not asked for") })
			case ended != nil:
				channel = ch
			}
		case req, ok := <-asked:
			switch {
			case !ok:
				requests = nil
			case c.handed().requests == nil:
				if req.WantReply {
					say(func() { req.Reply(false, nil) })
				}
			case ended != nil:
				request = req
			}
		case to.channels <- channel:
			channel = nil
		case to.requests <- request:
			request = nil
		case <-said:
			saying = false
		case <-ended: // what there was to hand over, nobody will take any more
			ended, channel, request = nil, nil, nil
			c.dropIdle()
			timer := time.NewTimer(closeGrace)
			defer timer.Stop()
			late = timer.C
		case <-late:
			// Channels that were opened with SSH are not served: the library waits for
			// whoever has opened them.
			go drain(channels, requests)
			return
		case <-tick:
			if !heart.beat() {
				c.d.log.Debug("host does not answer", "host", c.host)
				c.wire.end(&sshError{text: "the host has not answered for " + heart.waited().String(), err: net.ErrClosed})
				c.link().Close()
			}
		}
	}
}

// drain takes what comes until the connection has ended, for nobody: the SSH library waits
// for whoever takes it.
func drain(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
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

// setIdle notes that nothing has been started on a session yet. Its requests are served
// by nobody: more of them than the library keeps stop the whole connection, and its end.
func (c *Client) setIdle(ch *Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isClosed(c.wire.ended) {
		go ssh.DiscardRequests(ch.opened) // dropIdle has been there
		return
	}
	if c.idle == nil {
		c.idle = make(map[*Channel]bool)
	}
	c.idle[ch] = true
}

// setUsed notes that somebody serves the requests of a session.
func (c *Client) setUsed(ch *Channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.idle, ch)
}

// dropIdle serves the requests of all sessions that nobody serves.
func (c *Client) dropIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.idle {
		requests := ch.opened
		c.wg.Go(func() { ssh.DiscardRequests(requests) })
	}
	c.idle = nil
}

// finish notes that the connection is gone.
func (c *Client) finish() {
	c.mu.Lock()
	close(c.done)
	c.conn = newEndedConn(c.conn)
	if c.ssh != nil {
		close(c.hand.channels)
		close(c.hand.requests)
	}
	c.mu.Unlock()
	if c.agent != nil {
		c.agent.end()
	}
	c.d.log.Debug("connection ended", "host", c.host)
}

func (c *Client) handed() handover {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hand
}
