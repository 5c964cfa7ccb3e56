package main

import (
	"context"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/term"

	"fleetssh/cmd/fleetssh/internal/results"
)

// reportOnRequest lets the user ask who is outstanding: by Enter, by QUIT (Ctrl-\), and by INFO
// (Ctrl-T) where there is that. The first interrupt says it as well. reads says that standard
// input is read for something else. stop must be called.
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
