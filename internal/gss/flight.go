package gss

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// flights runs a function once for all concurrent callers that need the same result, and caches the
// result.
type flights[T any] struct {
	// fresh returns until when a value or an error is returned to later callers.
	fresh func(T, error) time.Time

	mu     sync.Mutex            // protects what follows
	byName map[string]*flight[T] // by the name that callers pass
}

// flight is one run of the function, and then its result.
type flight[T any] struct {
	cancel  context.CancelCauseFunc
	waiting int           // the number of waiting callers, protected by flights.mu
	done    chan struct{} // closed when what follows is set
	value   T
	err     error
	until   time.Time
}

// flightTimeout limits one flight, even if the contexts of its callers last longer.
const flightTimeout = time.Minute

// do returns the result of fetch, which runs once for all callers with the same name. A caller
// whose context ends leaves without disturbing the others. When the last caller leaves, the context
// of fetch ends.
func (f *flights[T]) do(ctx context.Context, name string, fetch func(context.Context) (T, error)) (T, error) {
	fl := f.join(ctx, name, fetch)
	select {
	case <-fl.done:
		return fl.value, fl.err
	case <-ctx.Done():
	}
	if f.leave(ctx, name, fl) {
		<-fl.done // fetch ends now, and its error says what it was doing
		return fl.value, fl.err
	}
	var none T
	return none, fmt.Errorf("no answer in time: %w", context.Cause(ctx))
}

// join returns the flight with a name. It starts one if there is none or its result has expired.
func (f *flights[T]) join(ctx context.Context, name string, fetch func(context.Context) (T, error)) *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.byName[name]
	if fl != nil && (!fl.finished() || time.Now().Before(fl.until)) {
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

// leave removes a caller from a flight, and reports whether it was the last. If so, it cancels the
// flight and forgets it.
func (f *flights[T]) leave(ctx context.Context, name string, fl *flight[T]) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiting--
	if fl.waiting > 0 {
		return false
	}
	fl.cancel(context.Cause(ctx))
	if f.byName[name] == fl && !fl.finished() {
		delete(f.byName, name)
	}
	return true
}

func (fl *flight[T]) finished() bool {
	select {
	case <-fl.done:
		return true
	default:
		return false
	}
}

// lookup returns the value of a finished flight, if it has not expired.
func (f *flights[T]) lookup(name string) (value T, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.byName[name]
	if fl == nil || !fl.finished() || fl.err != nil || !time.Now().Before(fl.until) {
		return value, false
	}
	return fl.value, true
}

// How long failures are cached.
const (
	otherFailureTTL = time.Second     // for failures that may go away at any time, such as an empty cache
	unreachableTTL  = 5 * time.Second // for a KDC that does not answer
	kdcErrorTTL     = time.Minute     // for an error that a KDC returned
)

// failureFresh returns until when a failure is returned to later callers.
func failureFresh(err error) time.Time {
	now := time.Now()
	kerr := (*kdcError)(nil)
	silent := (*unreachable)(nil)
	refused := (*secretRefused)(nil)
	switch {
	case errors.As(err, &refused):
		// Never ask again: repeated logins with a wrong password lock accounts.
		return now.AddDate(100, 0, 0)
	case errors.As(err, &kerr):
		return now.Add(kdcErrorTTL)
	case errors.As(err, &silent):
		return now.Add(unreachableTTL)
	}
	return now.Add(otherFailureTTL)
}
