// Package turns limits how many hosts are worked on at a time.
package turns

import (
	"context"
	"sync"
)

// Turns is a number of turns. A host that waits for the user gives its turn to another one meanwhile:
// its worker does nothing, and one more worker is started. The zero value is ready for Run.
type Turns struct {
	tokens chan struct{} // holds one for each turn
	wg     sync.WaitGroup
	next   func(*Turn) (more bool)
}

// Run calls work, up to most calls at a time, until it returns false. It returns when all calls have
// returned. It must be called once.
func (t *Turns) Run(most int, work func(*Turn) (more bool)) {
	t.tokens, t.next = make(chan struct{}, most), work
	for range most {
		t.wg.Go(t.worker)
	}
	t.wg.Wait()
}

func (t *Turns) worker() {
	for more := true; more; {
		t.tokens <- struct{}{}
		turn := &Turn{all: t, held: true}
		more = t.next(turn)
		turn.end()
	}
}

// Turn is the turn of one host.
type Turn struct {
	all *Turns

	mu   sync.Mutex // protects what follows
	held bool       // no other host has it
	over bool       // the work on the host has ended
}

// Aside lets another host take the turn until back is called. back waits for a turn. Both may be called
// concurrently with the end of the work on the host.
func (t *Turn) Aside() (back func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.held {
		return func() {}
	}
	t.held = false
	<-t.all.tokens
	t.all.wg.Go(t.all.worker)
	return t.back
}

func (t *Turn) back() {
	t.all.tokens <- struct{}{}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		<-t.all.tokens
		return
	}
	t.held = true
}

func (t *Turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.held {
		<-t.all.tokens
	}
}

// key is the key under which the context of a host's work has its turn.
type key struct{}

// With returns the context for the work on a host.
func With(ctx context.Context, t *Turn) context.Context { return context.WithValue(ctx, key{}, t) }

// Aside returns the method [Turn.Aside] of the turn in a context, or nil if the work has no turn.
func Aside(ctx context.Context) func() (back func()) {
	if t, ok := ctx.Value(key{}).(*Turn); ok {
		return t.Aside
	}
	return nil
}
