package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// errInterrupted is why the context of the program ends.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that ends on the first interrupt or TERM. The
// second ends the process at once.
//
// A closed standard output becomes an error of writing, so that what runs on the
// hosts is stopped, instead of a signal that ends the process.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-signals
		cancel(errInterrupted)
		<-signals
		os.Exit(exitInterrupted)
	}()
	return ctx, func() { signal.Stop(signals) }
}
