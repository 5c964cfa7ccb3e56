package transfer

import (
	"context"
	"sync/atomic"
	"time"
)

// guard is a stream that is given up when the context ends, or when nothing comes or goes
// for too long.
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
	g.free = context.AfterFunc(ctx, func() { s.Close() })
	return g
}

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Stream.Read(p)
	g.timer.Reset(g.limit)
	return n, err
}

func (g *guard) Write(p []byte) (int, error) {
	n, err := g.Stream.Write(p)
	g.timer.Reset(g.limit)
	return n, err
}

// stop ends the watch.
func (g *guard) stop() {
	g.timer.Stop()
	g.free()
}

// reason returns why the stream has ended: err, or what ended it here.
func (g *guard) reason(err error) error {
	switch {
	case g.ctx.Err() != nil:
		return context.Cause(g.ctx)
	case g.stalled.Load():
		return ErrStalled
	}
	return err
}
