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
	open  atomic.Int32 // channels to the agent
	warn  sync.Once    // errors of one host are logged once

	request  sync.Once     // the request is sent once
	answered chan struct{} // closed when the host has answered it
}

func newAgentForwarding(agent *sshagent.Agent) *agentForwarding {
	f := &agentForwarding{agent: agent, answered: make(chan struct{})}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// ForwardAgent asks the host to forward the agent, if the connection has one, for all its
// sessions. session has just been opened. The only error is ctx's: a host that
// refuses is logged, which is not an error.
func (c *Conn) ForwardAgent(ctx context.Context, session ssh.Channel) error {
	if c.agent == nil {
		return nil
	}
	return c.agent.ask(ctx, c, session)
}

// ask sends the request on the first session of the connection: sshd refuses another request,
// and the answer counts for all sessions, which wait for it. If it never comes, the waiting
// sessions time out; once the first of them has been closed for that, the others go on without
// an agent, as ssh does.
func (f *agentForwarding) ask(ctx context.Context, c *Conn, session ssh.Channel) error {
	f.request.Do(func() {
		ok := c.Go(func() {
			defer close(f.answered)
			granted, err := session.SendRequest(agentRequest, true, nil)
			if err == nil && !granted {
				c.log.Warn("the host does not forward the SSH agent", "host", c.host())
			}
		})
		if !ok {
			close(f.answered)
		}
	})
	select {
	case <-f.answered:
		return nil
	case <-ctx.Done():
		return deadline.Cause(ctx)
	}
}

// accept serves a channel to the agent that the host opens. It returns false if too many are
// open. A channel counts until the host has closed it too: until then it holds received data.
func (f *agentForwarding) accept(c *Conn, opened ssh.NewChannel) bool {
	if f.open.Add(1) > maxAgentChannels {
		f.open.Add(-1)
		return false
	}
	c.wg.Go(func() {
		defer f.open.Add(-1)
		channel, requests, err := opened.Accept()
		if err != nil {
			return
		}
		c.wg.Go(func() {
			if err := f.agent.Relay(f.ctx, channel); err != nil && f.ctx.Err() == nil {
				f.warn.Do(func() { c.log.Warn("forwarded agent", "host", c.host(), "error", err) })
			}
			c.CloseSoon(channel)
		})
		c.wg.Go(func() { _, _ = io.Copy(io.Discard, channel.Stderr()) }) // agents do not use it
		ssh.DiscardRequests(requests)
	})
	return true
}
