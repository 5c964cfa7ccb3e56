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

// doubledSignal is how soon after the first a second signal still counts as the
// same: timeout(1) sends each to the process and again to its group.
const doubledSignal = 300 * time.Millisecond

// endings are the signals that ask for the end of the process: what runs on hosts would outlive
// it. HUP says that the terminal is gone, unless nohup(1) has it ignored.
func endings() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// interruptible returns a context that ends on the first interrupt, TERM or HUP. The
// second ends the process at once.
//
// A closed standard output becomes an error of writing, so that what runs on the
// hosts is stopped, instead of a signal that ends the process.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	ends := endings()
	i := &interrupts{}
	signal.Notify(signals, append(ends, os.Interrupt)...)
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-signals
		first := time.Now()
		i.tellSoon()
		cancel()
		for range signals {
			if time.Since(first) > doubledSignal {
				os.Exit(exit.Interrupted)
			}
		}
	}()
	stop = func() { signal.Stop(signals) }
	i.spare = func() {
		stop()
		signal.Notify(signals, ends...)
	}
	return context.WithValue(ctx, interruptsKey{}, i), stop
}

// interruptsKey is where a context keeps its interrupts.
type interruptsKey struct{}

// interrupts is what may be changed about the signals that end a context.
type interrupts struct {
	spare func() // makes interrupts leave the context alone

	mu     sync.Mutex // protects what follows
	before func()     // is called before the context ends; nil: nothing is
}

func (i *interrupts) tell() {
	i.mu.Lock()
	before := i.before
	i.mu.Unlock()
	if before == nil {
		return
	}
	// While something is asked on the terminal nothing is shown: the interrupt ends that too.
	told := make(chan struct{})
	go func() {
		defer close(told)
		before()
	}()
	select {
	case <-told:
	case <-time.After(tellGrace):
	}
}

// tellGrace is how long telling what is under way may hold up an interrupt.
const tellGrace = 200 * time.Millisecond

// tellPatience is how long telling may hold up the end of what runs. Nothing can be shown while
// somebody is asked on the terminal, and that ends with the context.
const tellPatience = 100 * time.Millisecond

// tellSoon is tell, and goes on when that takes too long.
func (i *interrupts) tellSoon() {
	told := make(chan struct{})
	go func() {
		i.tell()
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(tellPatience):
	}
}

// beforeInterrupt has a function called on the first signal, before it ends ctx, until forget
// is called: what is under way can still be told then.
func beforeInterrupt(ctx context.Context, tell func()) (forget func()) {
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

// takeInterrupts is for a dialogue: from now on interrupts end neither ctx, which
// interruptible has made, nor the process, but come through the channel. TERM and HUP still do.
func takeInterrupts(ctx context.Context) (signals <-chan os.Signal, release func()) {
	taken := make(chan os.Signal, 8)
	signal.Notify(taken, os.Interrupt)
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		i.spare()
	}
	return taken, func() { signal.Stop(taken) }
}

// interruptSelf passes on an interrupt that another program in the foreground has got, and
// waits until it has ended ctx: who was in the foreground fails for that reason.
func interruptSelf(ctx context.Context) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil || self.Signal(os.Interrupt) != nil {
		return // there is none where there are no such programs
	}
	select {
	case <-ctx.Done():
	case <-time.After(2 * tellGrace): // in a dialogue it ends a line, and not ctx
	}
}

// working returns the context for work on hosts: it ends with ctx, and when
// nobody takes the output any more. An interrupt is acknowledged at once, since
// stopping what runs may take a while.
func (c *call) working(ctx context.Context) (work context.Context, end func()) {
	work, cancel := context.WithCancel(ctx)
	c.screen.OnFailure(func(error) { cancel() })
	stop := context.AfterFunc(ctx, func() {
		c.screen.Message("fleetssh: interrupted: stopping what runs; once more to leave at once")
	})
	return work, func() {
		stop()
		cancel()
	}
}
