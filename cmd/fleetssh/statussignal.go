package main

import (
	"context"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"

	"fleetssh/cmd/fleetssh/internal/results"
)

// reportOnRequest shows the outstanding hosts when the user presses Enter, on QUIT (Ctrl-\) and, where
// it exists, INFO (Ctrl-T), and on the first interrupt. reads means that standard input has another
// reader. stop must be called.
func (c *app) reportOnRequest(ctx context.Context, o *results.Outstanding, reads bool) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, statusSignals...)
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
	forget := onInterrupt(ctx, func() { o.Report(c.screen) })
	return func() {
		forget()
		stopEnter()
		signal.Stop(signals)
		close(over)
		wg.Wait()
	}
}
