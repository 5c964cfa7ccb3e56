// Package sshagent is a client of SSH agents. All users of an agent share one connection for
// listing keys and signing. The package also relays the requests of remote hosts (agent
// forwarding).
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
	// maxRequests limits the concurrent requests to one agent. OpenSSH's agent answers them one
	// after another anyway.
	maxRequests = 16
	// listAge is how long a list of keys is cached, so that thousands of logins request it
	// once.
	listAge = 5 * time.Second
	// listTimeout limits listing the keys. The agent is a local process, but the machine may be
	// busy with thousands of hosts. Signing has no such limit, only that of the login: the user
	// may have to touch a token.
	listTimeout = 10 * time.Second
)

// Table holds the connections to agents, one for each socket. An agent serves one user, and a
// connection for each of thousands of hosts would use up its descriptors. The zero value is empty
// and ready for use. Its methods may be called concurrently.
type Table struct {
	mu   sync.Mutex // protects open and Agent.users
	open map[string]*Agent
}

// Agent is a shared connection to an agent. The first request connects, a request after a failure
// reconnects, and the last Release closes the connection. Its methods may be called concurrently.
type Agent struct {
	path    string
	users   int
	slots   chan struct{} // holds a token for each running request
	sockets chan struct{} // holds a token for each connection of a relay

	listing chan struct{} // holds a token while one caller lists the keys; protects what follows
	list    []*agent.Key
	listErr error
	listed  time.Time // when the keys were listed

	mu     sync.Mutex // protects what follows
	conn   *watchedConn
	client agent.ExtendedAgent
	closed bool
	wg     sync.WaitGroup
}

// Acquire returns the Agent for a socket. It does not connect. The caller must call Release.
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
			slots:   make(chan struct{}, maxRequests),
			sockets: make(chan struct{}, maxSockets),
			listing: make(chan struct{}, 1),
		}
		t.open[path] = a
	}
	a.users++
	return a
}

// Release gives up an Agent, and closes its connection if it has no other user. A nil Agent is
// ignored.
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

// Keys returns the keys of the agent. The list may be up to five seconds old, and older if the
// agent does not answer.
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
		return nil, err // ctx ended: do not cache that as an error of the agent
	}
	var list []*agent.Key
	if err == nil {
		list = <-answer
	} else if limited.Err() != nil && len(a.list) > 0 {
		// The agent may be waiting for the user to touch a token: use the old list.
		list, err = a.list, nil
	}
	a.list, a.listErr, a.listed = list, err, time.Now()
	return list, err
}

// do makes one request. If the connection turns out to be broken, it reconnects and repeats the
// request once. If ctx ends first, do returns while the request still runs; the request ends at the
// latest when the connection is closed.
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

// connect returns the client of the connection, and connects if necessary.
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
	c := &watchedConn{Conn: conn}
	a.conn, a.client = c, agent.NewClient(c)
	return a.client, nil
}

// broken reports whether the connection of client has failed. If so, it drops the connection, so
// that the next connect makes a new one.
func (a *Agent) broken(client agent.ExtendedAgent) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != client {
		return true // another goroutine has dropped it already
	}
	if a.conn == nil || !a.conn.broken.Load() || a.closed {
		return false
	}
	a.conn.Close()
	a.conn, a.client = nil, nil
	return true
}

// works reports whether the connection of client still works. If so, an error of a request is an
// answer of the agent.
func (a *Agent) works(client agent.ExtendedAgent) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.client == client && a.conn != nil && !a.conn.broken.Load() && !a.closed
}

// watchedConn is a connection that records whether a read or write has failed.
//
// It also checks the length of each answer. After an answer that is too long, the agent library
// stops reading without reporting that the connection is unusable.
type watchedConn struct {
	net.Conn
	broken atomic.Bool
	length []byte // the bytes of the current answer's length that have arrived
	left   uint32 // the bytes of the current answer that have not arrived
}

// Read implements [net.Conn].
func (c *watchedConn) Read(p []byte) (int, error) {
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

// Write implements [net.Conn].
func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.broken.Store(true)
	}
	return n, err
}
