package tunnel

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// FailureMemory is how long a [Connector] remembers that a host could not be reached. Meanwhile
// connections through tunnels fail at once.
const FailureMemory = 2 * time.Second

// Connector gives all tunnels of a host the same connection. Callers of Connect share one attempt
// to connect, and its result. Connector reports once that the connection is lost or cannot be
// made, until there is a connection again. Its methods may be called concurrently.
type Connector struct {
	host   fmt.Stringer
	report func(Event)
	turn   chan struct{} // contains an element while Connect runs

	mu       sync.Mutex // protects what follows
	failed   error      // of the last attempt; forgotten after FailureMemory
	failedAt time.Time
	watched  any  // the connection whose end will be reported
	down     bool // the missing connection has been reported
}

// NewConnector returns the connector of a host.
func NewConnector(host fmt.Stringer, report func(Event)) *Connector {
	return &Connector{host: host, report: report, turn: make(chan struct{}, 1)}
}

// Connect calls connect. It runs one call at a time. If another call has just failed, Connect
// returns the error of that call without calling connect. If ctx ends before its turn, tried is
// false and the error is ctx's.
func (c *Connector) Connect(ctx context.Context, connect func() error) (tried bool, err error) {
	asked := time.Now()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	c.mu.Lock()
	failed, at := c.failed, c.failedAt
	c.mu.Unlock()
	if failed != nil && (at.After(asked) || time.Since(at) < FailureMemory) {
		return true, failed
	}
	err = connect()
	if err != nil && ctx.Err() == nil {
		c.unreachable(err)
	}
	return true, err
}

// Connected records that there is a connection. It reports whether the connection is new: the
// caller must then call Lost when the connection fails.
func (c *Connector) Connected(conn any) (isNew bool) {
	c.mu.Lock()
	was, known := c.down, c.watched == conn
	c.failed, c.down, c.watched = nil, false, conn
	c.mu.Unlock()
	if was {
		c.report(Event{Kind: Reconnected, Host: c.host})
	}
	return !known
}

// Lost records that a connection has failed. It must not be called for a connection that was
// closed.
func (c *Connector) Lost(conn any, why error) {
	c.mu.Lock()
	tell := c.watched == conn && !c.down
	if tell {
		c.down = true
	}
	c.mu.Unlock()
	if tell {
		c.report(Event{Kind: ConnectionLost, Host: c.host, Err: why})
	}
}

// unreachable records that there is no connection.
func (c *Connector) unreachable(err error) {
	c.mu.Lock()
	was := c.down
	c.failed, c.failedAt, c.down = err, time.Now(), true
	c.mu.Unlock()
	if !was {
		c.report(Event{Kind: ConnectFailed, Host: c.host, Err: err})
	}
}
