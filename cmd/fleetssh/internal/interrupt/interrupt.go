// Package interrupt decides what signals do: the first one ends the work on hosts, the second one the
// process.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// Doubled is the time within which a second signal counts as the first one again: timeout(1) sends each
// signal to the process and then to its group.
const Doubled = 300 * time.Millisecond

// terminationSignals returns the signals that would end the process while commands on hosts continue.
// HUP means that the terminal is gone, unless nohup(1) ignores it.
func terminationSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// Context returns a context that ends on the first interrupt, TERM or HUP. The second signal
// ends the process at once.
//
// Writing to a closed standard output returns an error instead of raising SIGPIPE, so that commands on
// hosts can be stopped.
func Context(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	ends := terminationSignals()
	i := &interrupts{signals: signals}
	signal.Notify(signals, append(ends, os.Interrupt)...)
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-signals
		first := time.Now()
		go func() { // the report takes time, after which a doubled signal would be a second one
			i.report()
			cancel()
		}()
		for range signals {
			if time.Since(first) > Doubled {
				i.leave()
				os.Exit(exit.Interrupted)
			}
		}
	}()
	stop = func() { signal.Stop(signals) }
	i.exclude = func() {
		stop()
		signal.Notify(signals, ends...)
	}
	return context.WithValue(ctx, interruptsKey{}, i), stop
}

// interruptsKey is the key of the interrupts in a context.
type interruptsKey struct{}

// interrupts lets dialogues and reports change how signals end a context.
type interrupts struct {
	exclude func() // stops interrupts from ending the context
	signals chan os.Signal

	mu     sync.Mutex // protects what follows
	before func()     // called before the context ends; nil: nothing is called
	last   func()     // called before the process ends at once; nil: nothing is called
}

// reportGrace is how long a report may delay the end of the context. Nothing is shown while a question
// waits on the terminal, and questions end with the context.
const reportGrace = 100 * time.Millisecond

// report calls before, and waits for it no longer than reportGrace.
func (i *interrupts) report() {
	i.mu.Lock()
	before := i.before
	i.mu.Unlock()
	if before == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		before()
	}()
	select {
	case <-done:
	case <-time.After(reportGrace):
	}
}

// leaveGrace is how long a function may delay the end of the process.
const leaveGrace = time.Second

// leave calls last, and waits for it no longer than leaveGrace.
func (i *interrupts) leave() {
	i.mu.Lock()
	last := i.last
	i.mu.Unlock()
	if last == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		last()
	}()
	select {
	case <-done:
	case <-time.After(leaveGrace):
	}
}

// OnExit makes the second signal call restore before it ends the process: the terminal may be in another
// mode. It must be possible to call restore at any time.
func OnExit(ctx context.Context, restore func()) {
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.last = restore
	}
}

// Press does what Ctrl-C does, on a terminal that does not turn it into a signal.
func Press(ctx context.Context) {
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		select {
		case i.signals <- os.Interrupt:
		default: // two signals wait already
		}
	}
}

// OnFirst makes the first signal call tell before it ends ctx, while the state of the hosts can still
// be reported. forget undoes that.
func OnFirst(ctx context.Context, tell func()) (forget func()) {
	i, ok := ctx.Value(interruptsKey{}).(*interrupts)
	if !ok {
		return func() {}
	}
	set := func(f func()) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.before = f
	}
	set(tell)
	return func() { set(nil) }
}

// Capture delivers interrupts through a channel, for a dialogue. They no longer end ctx, which Context
// has made, or the process. TERM and HUP still end both.
func Capture(ctx context.Context) (signals <-chan os.Signal, release func()) {
	taken := make(chan os.Signal, 8)
	signal.Notify(taken, os.Interrupt)
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		i.exclude()
	}
	return taken, func() { signal.Stop(taken) }
}

// Raise sends an interrupt to this process, because another program in the foreground has
// received one. It waits until ctx has ended, so that the failure of that program has this cause.
func Raise(ctx context.Context) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil || self.Signal(os.Interrupt) != nil {
		return // on systems without signals, there is no such program
	}
	select {
	case <-ctx.Done():
	case <-time.After(4 * reportGrace): // in a dialogue, an interrupt does not end ctx
	}
}
