package main

import (
	"context"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"

	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/results"
)

// reportOnRequest shows the outstanding hosts when the user presses Enter, on QUIT (Ctrl-\) and, where
// it exists, INFO (Ctrl-T), and on the first interrupt. reads means that standard input has another
// reader. stop must be called.
func (c *app) reportOnRequest(ctx context.Context, o *results.Outstanding, reads bool) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, interrupt.StatusSignals...)
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-signals:
				o.Report(c.screen)
			case <-over:
				return
			}
		}
	})
	stopEnter := func() {}
	if in, ok := c.in.(*os.File); ok && !reads && term.IsTerminal(int(in.Fd())) && c.screen.HasStatus() {
		stopEnter = c.screen.OnEnter(in, func() { o.Report(c.screen) })
	}
	forget := interrupt.OnFirst(ctx, func() { o.Report(c.screen) })
	return func() {
		forget()
		stopEnter()
		signal.Stop(signals)
		close(over)
		wg.Wait()
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
