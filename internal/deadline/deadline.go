// Package deadline ends contexts in time, where a time limit may have to stand still, and
// says why a context has ended.
package deadline

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Clock ends a context when its time is up. It can be paused, as while the user is asked
// a question. Its methods may be called by many goroutines.
type Clock struct {
	mu      sync.Mutex // protects what follows
	limit   time.Duration
	timer   *time.Timer
	left    time.Duration // when running began
	running time.Time     // since when; zero: it stands still
	paused  int           // how many pauses have not ended
}

// Start returns a context that ends with parent or after limit, the cause
// being context.DeadlineExceeded, and the clock that runs for it. stop must be
// called.
func Start(parent context.Context, limit time.Duration) (ctx context.Context, c *Clock, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	c = &Clock{limit: limit, left: limit, running: time.Now()}
	c.timer = time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	return ctx, c, func() {
		c.timer.Stop()
		cancel(nil)
	}
}

// Pause stops the clock until the returned function is called.
func (c *Clock) Pause() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused++; c.paused == 1 && c.timer.Stop() {
		c.left -= time.Since(c.running)
		c.running = time.Time{}
	}
	return c.resume
}

func (c *Clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused--; c.paused == 0 && c.running.IsZero() {
		c.running = time.Now()
		c.timer.Reset(max(c.left, 0))
	}
}

// Restart gives the clock a new limit, which counts from now on.
func (c *Clock) Restart(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit, c.left = limit, limit
	if c.running.IsZero() { // resume starts it
		return
	}
	if c.timer.Stop() { // or it has just ended
		c.running = time.Now()
		c.timer.Reset(limit)
	}
}

// Limit returns how long the clock runs: what Start was given, or Restart.
func (c *Clock) Limit() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// Cause says why a context has ended, nil if it has not: an error that is
// context.DeadlineExceeded if the time was up, and context.Canceled otherwise,
// whatever cause the caller gave.
func Cause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, context.Canceled) {
		return cause
	}
	return &cancelledError{cause}
}

// cancelledError is context.Canceled with a cause.
type cancelledError struct{ cause error }

func (e *cancelledError) Error() string   { return e.cause.Error() }
func (e *cancelledError) Unwrap() []error { return []error{context.Canceled, e.cause} }
