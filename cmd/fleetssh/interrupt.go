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

// duplicateSignal is the time within which a second signal counts as the same: timeout(1) sends each
// signal to the process and then to its group.
const duplicateSignal = 300 * time.Millisecond

// terminationSignals returns the signals that would end the process, while commands on hosts would go on. HUP
// means that the terminal is gone, unless nohup(1) has it ignored.
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
// Writing to a closed standard output returns an error instead of ending the process by a signal, so
// that what runs on hosts can be stopped.
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
			i.tellSoon()
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
	exclude func() // makes interrupts leave the context alone

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
	// Nothing is shown while a question waits on the terminal. The interrupt ends the question, too.
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

// tellGrace is how long a report of what is under way may delay an interrupt.
const tellGrace = 200 * time.Millisecond

// tellPatience is how long a report may delay the end of what runs. Nothing is shown while a question
// waits on the terminal, and questions end with the context.
const tellPatience = 100 * time.Millisecond

// tellSoon calls tell, and does not wait for it longer than tellPatience.
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

// onInterrupt makes the first signal call a function before it ends ctx, while what is under way
// can still be reported. forget undoes that.
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

// captureInterrupts is for a dialogue. From now on interrupts come through the channel, and end neither
// ctx, which interruptible has made, nor the process. TERM and HUP still end both.
func captureInterrupts(ctx context.Context) (signals <-chan os.Signal, release func()) {
	taken := make(chan os.Signal, 8)
	signal.Notify(taken, os.Interrupt)
	if i, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		i.exclude()
	}
	return taken, func() { signal.Stop(taken) }
}

// raiseInterrupt passes on an interrupt that another program in the foreground has received. It waits
// until the interrupt has ended ctx, so that the failure of that program is seen to have this reason.
func raiseInterrupt(ctx context.Context) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil || self.Signal(os.Interrupt) != nil {
		return // on systems without signals no such program runs
	}
	select {
	case <-ctx.Done():
	case <-time.After(2 * tellGrace): // in a dialogue it ends a line, and not ctx
	}
}

// workContext returns the context for work on hosts. It ends with ctx, and when standard output cannot be
// written. An interrupt is acknowledged at once, because stopping what runs may take a while.
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
