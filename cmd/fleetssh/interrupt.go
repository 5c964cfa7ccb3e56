package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// duplicateSignal is the time within which a second signal counts as a duplicate: timeout(1) sends each
// signal to the process and then to its group.
const duplicateSignal = 300 * time.Millisecond

// terminationSignals returns the signals that would end the process while commands on hosts continue.
// HUP means that the terminal is gone, unless nohup(1) ignores it.
func terminationSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// interruptible returns a context that ends on the first interrupt, TERM or HUP. The second signal
// ends the process at once.
//
// Writing to a closed standard output returns an error instead of raising SIGPIPE, so that commands on
// hosts can be stopped.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	ends := terminationSignals()
	i := &interrupts{}
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
			if time.Since(first) > duplicateSignal {
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

	mu     sync.Mutex // protects what follows
	before func()     // called before the context ends; nil: nothing is called
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

// onInterrupt makes the first signal call tell before it ends ctx, while the state of the hosts can still
// be reported. forget undoes that.
func onInterrupt(ctx context.Context, tell func()) (forget func()) {
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

// captureInterrupts delivers interrupts through a channel, for a dialogue. They no longer end ctx, which
// interruptible has made, or the process. TERM and HUP still end both.
func captureInterrupts(ctx context.Context) (signals <-chan os.Signal, release func()) {
	taken := make(chan os.Signal, 8)
	signal.Notify(taken, os.Interrupt)
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		i.exclude()
	}
	return taken, func() { signal.Stop(taken) }
}

// raiseInterrupt sends an interrupt to this process, because another program in the foreground has
// received one. It waits until ctx has ended, so that the failure of that program has this cause.
func raiseInterrupt(ctx context.Context) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil || self.Signal(os.Interrupt) != nil {
		return // on systems without signals, there is no such program
	}
	select {
	case <-ctx.Done():
	case <-time.After(4 * reportGrace): // in a dialogue, an interrupt does not end ctx
	}
}

// workContext returns the context for work on hosts. It ends with ctx, and when a write to standard
// output fails. An interrupt is acknowledged at once, because stopping the hosts may take a while.
func (c *app) workContext(ctx context.Context) (work context.Context, end func()) {
	work, cancel := context.WithCancel(ctx)
	c.screen.OnFailure(func(error) { cancel() })
	stop := context.AfterFunc(ctx, func() {
		c.screen.Message("fleetssh: interrupted: stopping the hosts; interrupt again to exit at once")
	})
	return work, func() {
		stop()
		cancel()
	}
}
