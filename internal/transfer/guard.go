package transfer

import (
	"context"
	"sync/atomic"
	"time"
)

// guard is a stream that is closed when the context ends or a Read, Write or Wait takes too long.
// Only one goroutine at a time may call these methods.
type guard struct {
	Stream
	ctx     context.Context
	limit   time.Duration
	timer   *time.Timer
	free    func() bool
	stalled atomic.Bool
}

func guardStream(ctx context.Context, s Stream, limit time.Duration) *guard {
	g := &guard{Stream: s, ctx: ctx, limit: limit}
	g.timer = time.AfterFunc(limit, func() {
		g.stalled.Store(true)
		s.Close()
	})
	g.timer.Stop()
	g.free = context.AfterFunc(ctx, func() { s.Close() })
	return g
}

func (g *guard) Read(p []byte) (int, error) {
	g.timer.Reset(g.limit)
	defer g.timer.Stop()
	return g.Stream.Read(p)
}

func (g *guard) Write(p []byte) (int, error) {
	g.timer.Reset(g.limit)
	defer g.timer.Stop()
	return g.Stream.Write(p)
}

// Wait implements [Stream].
func (g *guard) Wait() error {
	g.timer.Reset(g.limit)
	defer g.timer.Stop()
	return g.Stream.Wait()
}

// stop ends the watch over the stream.
func (g *guard) stop() {
	g.timer.Stop()
	g.free()
}

// reason returns why the stream has ended: the context, the timeout, or else err.
func (g *guard) reason(err error) error {
	switch {
	case g.ctx.Err() != nil:
		return context.Cause(g.ctx)
	case g.stalled.Load():
		return ErrStalled
	}
	return err
}
