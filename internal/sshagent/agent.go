// Package sshagent speaks to SSH agents: one connection to each, shared by all that
// want keys or signatures of it, and a way to hand requests of remote hosts on.
package sshagent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh/agent"
)

const (
	// inFlight is how many requests the agent has to deal with at once.
	// OpenSSH's answers one after another anyway.
	inFlight = 16
	// listAge is how long the list of its keys is taken for current, so
	// that thousands of logins ask for it once.
	listAge = 5 * time.Second
	// listTimeout is how long it may take to list them: the agent is a process
	// of this machine, which may be busy with thousands of hosts. A signature may
	// take as long as the login: a user may have to touch a key for it.
	listTimeout = 10 * time.Second
)

// Table holds connections to agents, one to a socket: an agent serves one user,
// and a connection for each of thousands of hosts would take all of its
// descriptors. The zero value is empty and ready for use.
type Table struct {
	mu   sync.Mutex // protects open and Agent.users
	open map[string]*Agent
}

// Agent is a shared connection to an agent. It is made when it is first needed,
// made again when it breaks, and closed with its last user. Its methods may be
// called by many goroutines at once.
type Agent struct {
	path    string
	users   int
	slots   chan struct{}
	sockets chan struct{} // of relays, see Relay

	listing chan struct{} // holds a token while the list is fetched: the others wait
	list    []*agent.Key  // what follows is protected by the token
	listErr error
	listed  time.Time

	mu     sync.Mutex // protects what follows
	conn   *watched
	client agent.ExtendedAgent
	closed bool
	wg     sync.WaitGroup
}

// Acquire returns the connection to the agent that listens on a socket, without
// connecting yet. It is given back with Release.
func (t *Table) Acquire(path string) *Agent {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[string]*Agent)
	}
	a := t.open[path]
	if a == nil {
		a = &Agent{
			path:    path,
			slots:   make(chan struct{}, inFlight),
			sockets: make(chan struct{}, maxSockets),
			listing: make(chan struct{}, 1),
		}
		t.open[path] = a
	}
	a.users++
	return a
}

// Release closes the connection if nobody else uses it. A nil Agent is ignored.
func (t *Table) Release(a *Agent) {
	if a == nil {
		return
	}
	t.mu.Lock()
	a.users--
	last := a.users == 0
	if last {
		delete(t.open, a.path)
	}
	t.mu.Unlock()
	if !last {
		return
	}
	a.mu.Lock()
	a.closed = true
	if a.conn != nil {
		a.conn.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

// Keys returns the keys that the agent holds.
func (a *Agent) Keys(ctx context.Context) ([]*agent.Key, error) {
	select {
	case a.listing <- struct{}{}:
		defer func() { <-a.listing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("SSH agent: %w", context.Cause(ctx))
	}
	if !a.listed.IsZero() && time.Since(a.listed) < listAge {
		return a.list, a.listErr
	}
	limited, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	answer := make(chan []*agent.Key, 1) // the request may outlive this call
	err := a.do(limited, func(client agent.ExtendedAgent) error {
		list, err := client.List()
		if err == nil {
			answer <- list
		}
		return err
	})
	if err != nil && ctx.Err() != nil {
		return nil, err // says nothing about the agent
	}
	var list []*agent.Key
	if err == nil {
		list = <-answer
	} else if limited.Err() != nil && len(a.list) > 0 {
		// Busy with signing: it may wait for a user to touch a key.
		list, err = a.list, nil
	}
	a.list, a.listErr, a.listed = list, err, time.Now()
	return list, err
}

// do makes one request, over a new connection if the old one has broken. When ctx
// ends first, the request is left to end with the connection.
func (a *Agent) do(ctx context.Context, request func(agent.ExtendedAgent) error) error {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("SSH agent: %w", context.Cause(ctx))
	}
	result := make(chan error, 1)
	run := func() {
		defer func() { <-a.slots }()
		client, err := a.connect()
		if err == nil {
			if err = request(client); errors.Is(err, net.ErrClosed) || a.broken(client) {
				if client, err = a.connect(); err == nil {
					err = request(client)
				}
			}
		}
		result <- err
	}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		<-a.slots
		return errors.New("SSH agent: connection closed")
	}
	a.wg.Go(run)
	a.mu.Unlock()
	select {
	case err := <-result:
		if err != nil {
			return fmt.Errorf("SSH agent: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("SSH agent: %w", context.Cause(ctx))
	}
}

// connect returns the connection, a new one if need be.
func (a *Agent) connect() (agent.ExtendedAgent, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != nil {
		return a.client, nil
	}
	if a.closed {
		return nil, net.ErrClosed
	}
	conn, err := net.DialTimeout("unix", a.path, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := &watched{Conn: conn}
	a.conn, a.client = c, agent.NewClient(c)
	return a.client, nil
}

// broken reports whether the connection behind client has failed, and forgets it
// then, so that the next connect makes a new one.
func (a *Agent) broken(client agent.ExtendedAgent) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != client {
		return true // somebody else has seen it already
	}
	if a.conn == nil || !a.conn.broken.Load() || a.closed {
		return false
	}
	a.conn.Close()
	a.conn, a.client = nil, nil
	return true
}

// works reports whether the connection behind client is still good, so that an error
// is an answer of the agent.
func (a *Agent) works(client agent.ExtendedAgent) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.client == client && a.conn != nil && !a.conn.broken.Load() && !a.closed
}

// watched is a connection that remembers whether a read or write has failed.
//
// It reads answers along: behind one that is too long the library reads no more,
// and does not say so.
type watched struct {
	net.Conn
	broken atomic.Bool
	length []byte // of the answer that is coming, as far as it has come
	left   uint32 // bytes of the answer
}

func (c *watched) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for rest := p[:n]; len(rest) > 0 && err == nil; {
		if c.left == 0 {
			take := min(4-len(c.length), len(rest))
			c.length, rest = append(c.length, rest[:take]...), rest[take:]
			if len(c.length) < 4 {
				break
			}
			if c.left, c.length = binary.BigEndian.Uint32(c.length), nil; c.left > maxMessage {
				err = fmt.Errorf("answer of %d bytes", c.left)
			}
		}
		take := min(c.left, uint32(len(rest)))
		c.left, rest = c.left-take, rest[take:]
	}
	if err != nil {
		c.broken.Store(true)
	}
	return n, err
}

func (c *watched) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.broken.Store(true)
	}
	return n, err
}
