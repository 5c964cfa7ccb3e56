package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Memory is how long a [Gate] remembers that a host could not be reached. Callers fail at
// once meanwhile.
const Memory = 2 * time.Second

// Gate gives all tunnels of one host its connection. Callers that ask while the connection
// is being made share the result. Gate logs once that the connection was lost or cannot be
// made, until there is one again.
type Gate struct {
	host fmt.Stringer // as it is logged
	log  *slog.Logger
	turn chan struct{} // holds a token while somebody gets the connection

	mu       sync.Mutex // protects what follows
	failed   error      // the last time; forgotten after Memory
	failedAt time.Time
	watched  any  // the connection whose end will be told
	down     bool // that has been told
}

// NewGate returns the gate of a host.
func NewGate(host fmt.Stringer, log *slog.Logger) *Gate {
	return &Gate{host: host, log: log, turn: make(chan struct{}, 1)}
}

// Pass calls connect, one caller at a time. If an earlier call has just failed, it returns
// that error without calling connect. If ctx ends while waiting for the turn, tried is false
// and the error is that of ctx.
func (g *Gate) Pass(ctx context.Context, connect func() error) (tried bool, err error) {
	asked := time.Now()
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	g.mu.Lock()
	failed, at := g.failed, g.failedAt
	g.mu.Unlock()
	if failed != nil && (at.After(asked) || time.Since(at) < Memory) {
		return true, failed
	}
	err = connect()
	if err != nil && ctx.Err() == nil {
		g.unreachable(err)
	}
	return true, err
}

// Reached notes that there is a connection. It reports whether the connection is new: the
// caller must then call Lost when it fails.
func (g *Gate) Reached(conn any) (isNew bool) {
	g.mu.Lock()
	was, known := g.down, g.watched == conn
	g.failed, g.down, g.watched = nil, false, conn
	g.mu.Unlock()
	if was {
		g.log.Info("connected again", "host", g.host)
	}
	return !known
}

// Lost notes that a connection has failed. It must not be called for one that was closed.
func (g *Gate) Lost(conn any, why error) {
	g.mu.Lock()
	tell := g.watched == conn && !g.down
	if tell {
		g.down = true
	}
	g.mu.Unlock()
	if tell {
		g.log.Warn("tunnels have lost their connection", "host", g.host, "error", why)
	}
}

// unreachable notes that there is no connection.
func (g *Gate) unreachable(err error) {
	g.mu.Lock()
	was := g.down
	g.failed, g.failedAt, g.down = err, time.Now(), true
	g.mu.Unlock()
	if !was {
		g.log.Warn("tunnels have no connection", "host", g.host, "error", err)
	}
}
