package conn

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/deadline"
	"fleetssh/internal/sshagent"
)

// The names that OpenSSH gives to agent forwarding (PROTOCOL.agent of OpenSSH 6
// and draft-ietf-sshm-ssh-agent, section 5).
const (
	agentRequest = "auth-agent-req@openssh.com"
	agentChannel = "auth-agent@openssh.com"
)

// maxAgentChannels is how many channels to the agent one host may have open.
const maxAgentChannels = 64

// agentForwarding lets a host use the local SSH agent.
type agentForwarding struct {
	agent *sshagent.Agent
	ctx   context.Context // ends with the connection
	stop  context.CancelFunc
	open  atomic.Int32
	warn  sync.Once // a host that makes trouble is named once

	ask   sync.Once     // the host is asked once
	asked chan struct{} // closed when it has answered
}

func newAgentForwarding(agent *sshagent.Agent) *agentForwarding {
	f := &agentForwarding{agent: agent, asked: make(chan struct{})}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// ForwardAgent asks the host to forward the agent, if there is one, for all sessions of the
// connection. session is one that has just been opened.
func (c *Conn) ForwardAgent(ctx context.Context, session ssh.Channel) error {
	if c.agent == nil {
		return nil
	}
	return c.agent.request(ctx, c, session)
}

// request asks the host to forward the agent, on the first session of the connection:
// sshd refuses another request, and what the first one gets is for all sessions, which
// wait for the answer. One that never comes costs the sessions that wait their time; when
// the first of them has been closed for it, the others go on without, as ssh does. A host
// that refuses is no reason to give up either.
func (f *agentForwarding) request(ctx context.Context, c *Conn, session ssh.Channel) error {
	f.ask.Do(func() {
		ok := c.Go(func() {
			defer close(f.asked)
			granted, err := session.SendRequest(agentRequest, true, nil)
			if err == nil && !granted {
				c.log.Warn("the host does not forward the SSH agent", "host", c.host())
			}
		})
		if !ok {
			close(f.asked)
		}
	})
	select {
	case <-f.asked:
		return nil
	case <-ctx.Done():
		return deadline.Cause(ctx)
	}
}

// accept serves a channel to the agent that the host opens. It counts until the host
// has closed it too: until then it holds what the host has sent. It returns false if there
// are too many.
func (f *agentForwarding) accept(c *Conn, asked ssh.NewChannel) bool {
	if f.open.Add(1) > maxAgentChannels {
		f.open.Add(-1)
		return false
	}
	c.wg.Go(func() {
		defer f.open.Add(-1)
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		c.wg.Go(func() {
			if err := f.agent.Relay(f.ctx, channel); err != nil && f.ctx.Err() == nil {
				f.warn.Do(func() { c.log.Warn("forwarded agent", "host", c.host(), "error", err) })
			}
			c.CloseSoon(channel)
		})
		c.wg.Go(func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }) // which nobody wants
		ssh.DiscardRequests(requests)
	})
	return true
}
