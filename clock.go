package fleetssh

import (
	"context"
	"errors"
	"sync"
	"time"
)

// clock ends a context when its time is up. It stands still while the user is
// asked.
type clock struct {
	mu      sync.Mutex // protects what follows
	limit   time.Duration
	timer   *time.Timer
	left    time.Duration // when running began
	running time.Time     // since when; zero: it stands still
	paused  int           // how many questions are open
}

// startClock returns a context that ends with parent or after limit, the cause
// being context.DeadlineExceeded, and the clock that runs for it. stop must be
// called.
func startClock(parent context.Context, limit time.Duration) (ctx context.Context, c *clock, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	c = &clock{limit: limit, left: limit, running: time.Now()}
	c.timer = time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	return ctx, c, func() {
		c.timer.Stop()
		cancel(nil)
	}
}

// pause stops the clock until the returned function is called.
func (c *clock) pause() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused++; c.paused == 1 && c.timer.Stop() {
		c.left -= time.Since(c.running)
		c.running = time.Time{}
	}
	return c.resume
}

func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused--; c.paused == 0 && c.running.IsZero() {
		c.running = time.Now()
		c.timer.Reset(max(c.left, 0))
	}
}

// restart gives the clock a new limit, which counts from now on.
func (c *clock) restart(limit time.Duration) {
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

// allowed is the limit.
func (c *clock) allowed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// causeOf says why a context has ended, nil if it has not: an error that is
// context.DeadlineExceeded if the time was up, and context.Canceled otherwise,
// whatever cause the caller gave.
func causeOf(ctx context.Context) error {
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
