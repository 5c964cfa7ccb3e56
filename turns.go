package fleetssh

import (
	"context"
	"sync"
)

// turns limits how many hosts are worked on at a time. A host that waits for the user gives its turn to
// another one meanwhile: its worker does nothing, and a worker more is started.
type turns struct {
	tokens chan struct{} // holds one for each turn
	wg     sync.WaitGroup
	next   func(*turn) (more bool)
}

// run calls work, up to most calls at a time, until it returns false. It returns when all calls have
// returned.
func (t *turns) run(most int, work func(*turn) (more bool)) {
	t.tokens, t.next = make(chan struct{}, most), work
	for range most {
		t.wg.Go(t.worker)
	}
	t.wg.Wait()
}

func (t *turns) worker() {
	for more := true; more; {
		t.tokens <- struct{}{}
		turn := &turn{all: t, held: true}
		more = t.next(turn)
		turn.end()
	}
}

// turn is the turn of one host.
type turn struct {
	all *turns

	mu   sync.Mutex // protects what follows
	held bool       // no other host has it
	over bool       // the work on the host has ended
}

// aside lets another host take the turn until back is called. back waits for a turn.
func (t *turn) aside() (back func()) {
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

func (t *turn) back() {
	t.all.tokens <- struct{}{}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		<-t.all.tokens
		return
	}
	t.held = true
}

func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.held {
		<-t.all.tokens
	}
}

// turnKey is the key under which the context of a host's work has its turn.
type turnKey struct{}

// asideOf returns the function that gives the turn of a host to another one, or nil if the work has no
// turn.
func asideOf(ctx context.Context) func() (back func()) {
	if t, ok := ctx.Value(turnKey{}).(*turn); ok {
		return t.aside
	}
	return nil
}
