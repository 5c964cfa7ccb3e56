package fleetssh

import (
	"context"
	"iter"
	"sync"
)

// OpenConsoles opens a console on every host and returns when each is ready or has
// failed. Close must be called on each in the end.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if
// all are ready and a [*HostsError] if some are not, each of which says why in its
// Err. If it is a [*ConfigError], the slice is nil and no host was contacted.
func (p *ParallelClient) OpenConsoles(ctx context.Context) ([]*Console, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	consoles := make([]*Console, len(slots))
	outs, err := p.startAll(ctx, slots, func(i int) starter { return consoleStarter(&consoles[i]) })
	for i, out := range outs {
		consoles[i] = consoleOf(out, consoles[i])
	}
	return consoles, err
}

// consoleStarter opens a console, and leaves it in s.
func consoleStarter(s **Console) starter {
	return starter{start: func(c *Client, ctx context.Context) *HostOutput {
		*s = c.openConsole(ctx)
		return (*s).session
	}}
}

// consoleOf returns the console of a shell; s is the one that was opened last.
func consoleOf(out *HostOutput, s *Console) *Console {
	if s == nil || s.session != out { // the host was not reached, this time
		s = failedConsole(out)
	}
	s.Index = out.Index
	return s
}

// StreamLines runs a line on every console, on all at once, and yields what happens as
// [ParallelClient.Stream] does; the Index of an event is that into consoles. It
// calls line for what console number i is to do, on many goroutines at once.
//
// Cancelling ctx, or leaving the loop early, stops the lines as [HostOutput] of
// [Console.Run] says. When the loop has ended, so has every line, and every goroutine
// behind it. The sequence can be used once.
func StreamLines(ctx context.Context, consoles []*Console, line func(i int) ConsoleLine) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		s := &eventStream{run: new(run), events: make(chan eventBlock, eventTurns), turns: make(chan struct{}, eventTurns), left: make(chan struct{})}
		s.loop(ctx, yield, func(ctx context.Context) {
			var wg sync.WaitGroup
			for i, console := range consoles {
				wg.Go(func() { s.line(ctx, i, console, line) })
			}
			wg.Wait()
		})
	}
}

// line runs a line on one console.
func (s *eventStream) line(ctx context.Context, i int, console *Console, line func(i int) ConsoleLine) {
	do := line(i)
	out, err := console.Run(ctx, do)
	if err == nil {
		s.watch(ctx, i, out)
	} else {
		out = newFailed(console.Index, console.Host, do.Text, err)
		out.connected = console.session.connected
	}
	s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: out}})
}
