// Package deadline has time limits for contexts that can be paused, and tells why a context has
// ended.
package deadline

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Clock ends a context when its time is up. It can be paused, for instance while the user is
// asked a question. Its methods may be called concurrently.
type Clock struct {
	mu      sync.Mutex // protects what follows
	limit   time.Duration
	timer   *time.Timer
	left    time.Duration // at the time running
	running time.Time     // when it started to run; zero: it is paused
	paused  int           // pauses that have not ended
}

// Start returns a context that ends with parent or after limit, then with the cause
// context.DeadlineExceeded, and the clock of that limit. The caller calls stop when done.
func Start(parent context.Context, limit time.Duration) (ctx context.Context, c *Clock, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	c = &Clock{limit: limit, left: limit, running: time.Now()}
	c.timer = time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	return ctx, c, func() {
		c.timer.Stop()
		cancel(nil)
	}
}

// Pause stops the clock until resume is called. Pauses may overlap.
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

// Restart gives the clock a new limit, which counts from now on. It has no effect when the time
// is up.
func (c *Clock) Restart(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit, c.left = limit, limit
	if c.running.IsZero() {
		return // resume starts it
	}
	if c.timer.Stop() { // false: the time is up
		c.running = time.Now()
		c.timer.Reset(limit)
	}
}

// Limit returns the limit that Start or Restart has set.
func (c *Clock) Limit() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// Cause returns why a context has ended, or nil if it has not. The error is
// context.DeadlineExceeded (errors.Is) if the time was up, and context.Canceled otherwise,
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
