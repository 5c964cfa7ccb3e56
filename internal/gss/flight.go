package gss

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// flights do what many want at the same time once, and remember what came of it.
type flights[T any] struct {
	// fresh says until when a value, or a failure, is given to those who come later.
	fresh func(T, error) time.Time

	mu     sync.Mutex
	byName map[string]*flight[T] // mu protects it; one for each service
}

// flight is something that is under way, or has been.
type flight[T any] struct {
	cancel  context.CancelCauseFunc
	waiting int           // who wants it; protected by the mu of the flights
	done    chan struct{} // is closed when the rest is set
	value   T
	err     error
	until   time.Time
}

// flightTimeout is a limit to the time of one flight, whatever those who wait allow.
const flightTimeout = time.Minute

// do returns what the function returns, which runs once for all who ask by the same
// name. If somebody's context ends, the others are not disturbed; if nobody waits any
// more, the function's context ends.
func (f *flights[T]) do(ctx context.Context, name string, fetch func(context.Context) (T, error)) (T, error) {
	fl := f.join(ctx, name, fetch)
	select {
	case <-fl.done:
		return fl.value, fl.err
	case <-ctx.Done():
	}
	if f.leave(ctx, name, fl) {
		<-fl.done // it ends now, and knows where it was
		return fl.value, fl.err
	}
	var none T
	return none, fmt.Errorf("no answer in time: %w", context.Cause(ctx))
}

// join returns the flight of that name, which is started if there is none, or its
// outcome is too old.
func (f *flights[T]) join(ctx context.Context, name string, fetch func(context.Context) (T, error)) *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.byName[name]
	if fl != nil && (!fl.landed() || time.Now().Before(fl.until)) {
		fl.waiting++
		return fl
	}
	ctx, timeout := context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
	ctx, cancel := context.WithCancelCause(ctx)
	fl = &flight[T]{cancel: cancel, waiting: 1, done: make(chan struct{})}
	if f.byName == nil {
		f.byName = make(map[string]*flight[T])
	}
	f.byName[name] = fl
	go func() {
		defer timeout()
		defer close(fl.done)
		fl.value, fl.err = fetch(ctx)
		fl.until = f.fresh(fl.value, fl.err)
	}()
	return fl
}

// leave says that somebody does not wait any more, and reports whether that was the
// last. Then the flight is cancelled, and forgotten.
func (f *flights[T]) leave(ctx context.Context, name string, fl *flight[T]) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiting--
	if fl.waiting > 0 {
		return false
	}
	fl.cancel(context.Cause(ctx))
	if f.byName[name] == fl && !fl.landed() {
		delete(f.byName, name)
	}
	return true
}

func (fl *flight[T]) landed() bool {
	select {
	case <-fl.done:
		return true
	default:
		return false
	}
}

// recall returns a value that is there already, and still good.
func (f *flights[T]) recall(name string) (value T, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.byName[name]
	if fl == nil || !fl.landed() || fl.err != nil || !time.Now().Before(fl.until) {
		return value, false
	}
	return fl.value, true
}

// How long failures are remembered.
const (
	briefly   = time.Second     // what may change at any time, as what is in a cache does
	forAWhile = 5 * time.Second // a KDC that does not answer
	forLong   = time.Minute     // what a KDC has said
)

// failureFresh says until when a failure is given to others.
func failureFresh(err error) time.Time {
	now := time.Now()
	kerr := (*kdcError)(nil)
	silent := (*unreachable)(nil)
	refused := (*secretRefused)(nil)
	switch {
	case errors.As(err, &refused):
		// For good: to ask again and again with a wrong password locks accounts.
		return now.AddDate(100, 0, 0)
	case errors.As(err, &kerr):
		return now.Add(forLong)
	case errors.As(err, &silent):
		return now.Add(forAWhile)
	}
	return now.Add(briefly)
}
