package fleetssh

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/sanitize"
)

// tunnelChannel is a channel that carries one connection through a tunnel.
type tunnelChannel struct {
	ssh.Channel
	requests <-chan *ssh.Request
	client   *Client
}

// openTunnel asks the host to connect to an address (direct-tcpip, RFC 4254, section
// 7.2; direct-streamlocal@openssh.com, OpenSSH's PROTOCOL, section 2.4). It takes
// HostConfig.ConnectTimeout at most.
func (c *Client) openTunnel(ctx context.Context, to endpoint) (*tunnelChannel, error) {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	kind, payload := "direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{to.host, uint32(to.port), "127.0.0.1", 0})
	if to.path != "" {
		kind, payload = "direct-streamlocal@openssh.com", ssh.Marshal(struct {
			Path     string
			Reserved string
			Unused   uint32
		}{to.path, "", 0})
	}
	var channel ssh.Channel
	var requests <-chan *ssh.Request
	err := c.await(ctx, call{
		do: func() (err error) {
			channel, requests, err = c.link().OpenChannel(kind, payload)
			return err
		},
		late: func(err error) {
			if err == nil {
				c.discard(channel, requests)
			}
		},
	})
	if err != nil {
		return nil, c.tunnelError(ctx, "forward", to, err)
	}
	return c.newTunnelChannel(channel, requests), nil
}

// newTunnelChannel takes over a channel. carry must be called next. From now on the
// SSH library may hold for every channel what its window allows: bounding what is read
// ahead would make all of them as slow as the slowest of their readers.
func (c *Client) newTunnelChannel(channel ssh.Channel, requests <-chan *ssh.Request) *tunnelChannel {
	c.wire.others.Add(1)
	c.users.enter()
	return &tunnelChannel{channel, requests, c}
}

// tunnelError returns the error for a tunnel to, or from, an address of the host.
func (c *Client) tunnelError(ctx context.Context, op string, at endpoint, err error) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	if !ok {
		return c.sessionError(ctx, op, err)
	}
	text := sanitize.Line(refused.Message)
	switch {
	case refused.Reason == ssh.Prohibited:
		text = "the host does not allow it (AllowTcpForwarding, PermitOpen): " + text
	case text == "":
		text = refused.Reason.String()
	}
	if at.path != "" && refused.Reason == ssh.ConnectionFailed {
		text += " (sshd says no more: there is no such socket, or none for this user, or AllowStreamLocalForwarding is off)"
	}
	return &SessionError{Host: c.host.name(), Port: c.host.port(), Op: op, Err: &refusedTunnel{at, refused.Reason, text}}
}

// refusedTunnel is the answer of a host that connects to an address for nobody, or
// cannot.
type refusedTunnel struct {
	to     endpoint
	reason ssh.RejectionReason
	text   string
}

func (e *refusedTunnel) Error() string { return e.to.address() + ": " + e.text }

// lostTunnel is the error of a tunnel whose client's connection has ended.
func (c *Client) lostTunnel() error {
	return &ConnectionError{Host: c.host.name(), Port: c.host.port(), Phase: "forward", Err: c.lostReason(io.EOF)}
}

// relay carries both directions between the channel and a caller, until both have
// ended, or one is broken, or ctx ends. It closes both. It returns without waiting for
// the host to agree to the end: what waits for that is the client's.
func (ch *tunnelChannel) relay(ctx context.Context, caller callerConn) {
	done := make(chan struct{})
	ok := ch.client.spawn(func() {
		defer close(done)
		ch.carry(ctx, caller)
	})
	if !ok {
		ch.abandon()
		reset(caller)
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
		reset(caller)
	}
}

// leave is the counterpart of newTunnelChannel.
func (ch *tunnelChannel) leave() {
	ch.client.wire.others.Add(-1)
	ch.client.leave()
}

// abandon is for a channel that nobody can use any more.
func (ch *tunnelChannel) abandon() {
	ch.leave()
	ch.client.discard(ch.Channel, ch.requests)
}

// closeSoon closes the channel without waiting for that.
func (ch *tunnelChannel) closeSoon() { ch.client.closeSoon(ch.Channel) }

func (ch *tunnelChannel) carry(ctx context.Context, caller callerConn) {
	defer ch.leave()
	var wg sync.WaitGroup
	said, heard := make(chan struct{}), make(chan struct{}) // closed when the caller, or the host, has said all
	both := make(chan struct{})
	var left atomic.Int32
	left.Store(2)
	direction := func(ended chan struct{}, run func()) {
		wg.Go(func() {
			run()
			close(ended)
			if left.Add(-1) == 0 {
				close(both)
			}
		})
	}
	direction(said, func() { ch.toHost(caller) })
	direction(heard, func() { ch.toCaller(caller, func() { wg.Go(func() { <-said; ch.closeSoon() }) }) })
	over := ctx.Done()
	for open := true; open; {
		select {
		case req, ok := <-ch.requests:
			if ok {
				req.Reply(false, nil)
			}
			open = ok
		case <-both:
			both = nil
			caller.Close()
			ch.closeSoon()
		case <-over:
			over = nil
			reset(caller)
			ch.closeSoon()
		}
	}
	// The host has closed the channel; what it said before is still for the caller.
	select {
	case <-heard:
	case <-over:
	case <-ch.client.done:
	}
	if ctx.Err() != nil || ch.client.broken() {
		reset(caller)
	}
	caller.Close()
	wg.Wait()
}

// toHost carries what the caller says.
func (ch *tunnelChannel) toHost(caller callerConn) {
	from := &noting{Reader: caller}
	_ = carry(ch.Channel, from) // told by from, or else the channel has been closed
	switch from.err {
	case nil:
	case io.EOF:
		ch.CloseWrite()
	default:
		ch.closeSoon() // the caller is gone
	}
}

// toCaller carries what comes from the host. It calls deaf if the caller takes no more,
// and drops the rest: the caller may still have something to say.
func (ch *tunnelChannel) toCaller(caller callerConn, deaf func()) {
	to := &noting{Writer: caller}
	_ = carry(to, ch.Channel) // told by to, or else the channel has ended
	switch {
	case to.err != nil:
		deaf()
		_, _ = io.Copy(io.Discard, ch.Channel)
	case ch.client.broken():
		reset(caller)
	default:
		_ = caller.CloseWrite() // it has gone itself, at worst
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// noting remembers the error of one side of a copy.
type noting struct {
	io.Reader
	io.Writer
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	got, err := n.Reader.Read(p)
	n.err = err
	return got, err
}

func (n *noting) Write(p []byte) (int, error) {
	put, err := n.Writer.Write(p)
	n.err = err
	return put, err
}
