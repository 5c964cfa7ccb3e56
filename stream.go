package fleetssh

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"
	"unicode/utf8"

	"fleetssh/internal/charset"
)

// eventTurns is how many blocks of lines, of at most 32 KiB mostly, may be in hand
// at a time. What is beyond waits in the outputs of the hosts, which are bounded by
// their budget.
const eventTurns = 32

// Stream runs cmd on every host, to the end, and yields what happens as it
// happens; PoolSize hosts are at work at a time. Leaving the loop early, or
// cancelling ctx, stops the commands as by [Channel.Stop]. When the loop has
// ended, so has every goroutine behind it. The sequence can be used once.
//
// When ctx ends, the loop goes on until every host has had its Finished event:
// cancelled if it was at work, skipped if it had not begun.
//
// The error is a [*HostArgumentError] or a [*ConfigError], and then no host was
// contacted. What goes wrong on a host is in its Finished event.
func (p *ParallelClient) Stream(ctx context.Context, cmd Command) (iter.Seq[Event], error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	r, err := cmd.prepare(len(slots), p.d)
	if err != nil {
		return nil, err
	}
	return func(yield func(Event) bool) {
		s := &eventStream{p: p, run: r, events: make(chan eventBlock, eventTurns), turns: make(chan struct{}, eventTurns), left: make(chan struct{})}
		s.loop(ctx, yield, func(ctx context.Context) {
			// Each host tells of its end itself.
			_ = s.p.each(ctx, slots, func(i int, host *slot) error { return s.host(ctx, i, host) }, func(i int, host *slot, why error) {
				s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: newFailed(i, host.host, "", why)}})
			})
		})
	}, nil
}

// An Event is something that happened on one host during Stream.
type Event struct {
	Kind    EventKind
	Index   int         // of the host in ParallelClient.Hosts
	Output  *HostOutput // the command on that host
	Text    string      // the line without its end, for StdoutLine and StderrLine
	Partial bool        // the line is longer than 1 MiB and goes on in the next event of its kind
	Err     error       // a [*DecodeError] if Text is raw bytes; another if the output could not be kept
	Time    time.Time
}

// EventKind tells the kinds of [Event] apart.
type EventKind int

// A host yields Started, its lines, and Finished; or, if the command could not be
// started, only Finished, with Output.Err set.
const (
	Started EventKind = iota + 1
	StdoutLine
	StderrLine
	Finished
)

// String returns the name used in JSON output, such as "stdout".
func (k EventKind) String() string {
	switch k {
	case Started:
		return "start"
	case StdoutLine:
		return "stdout"
	case StderrLine:
		return "stderr"
	case Finished:
		return "result"
	}
	return "unknown"
}

// eventStream is one run of Stream.
type eventStream struct {
	p      *ParallelClient
	run    *run
	events chan eventBlock
	turns  chan struct{} // holds a token for each block of lines in hand
	left   chan struct{} // closed when nobody takes events any more
}

// eventBlock is an event, or many lines of one host at once.
type eventBlock struct {
	Event
	lines string // whole lines
	whole bool   // lines is one line, without an end
}

// loop yields events until work, which sends them, has returned for all hosts or yield
// wants no more.
func (s *eventStream) loop(ctx context.Context, yield func(Event) bool, work func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	// Runs in any case: after the last host, a break, or a panic in the loop.
	defer func() {
		close(s.left)
		cancel()
		wg.Wait()
		if s.run.replay != nil {
			s.run.replay.Close()
		}
	}()
	s.run.play()
	wg.Go(func() {
		work(ctx)
		close(s.events)
	})
	for block := range s.events {
		if !block.yield(s.run.text, yield) {
			return
		}
		if block.lines != "" {
			<-s.turns
		}
	}
}

// host runs the command on one host. The error is that of the outcome.
func (s *eventStream) host(ctx context.Context, i int, slot *slot) error {
	defer slot.work.begin(PhaseConnect)()
	out := s.p.start(ctx, slot, i, s.run.starter(i))
	if out.Err != nil {
		s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: out}})
		return out.Err
	}
	slot.work.enter(PhaseRun)
	s.watch(ctx, i, out)
	s.p.settle(slot, out)
	s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: out}})
	return out.ch.result()
}

// watch sends what a command that has started writes, until it has ended. When ctx
// ends, it stops the command.
func (s *eventStream) watch(ctx context.Context, i int, out *HostOutput) {
	s.send(eventBlock{Event: Event{Kind: Started, Index: i, Output: out}})
	var wg sync.WaitGroup
	wg.Go(func() { s.lines(i, StderrLine, out, out.Stderr) })
	wg.Go(func() {
		select {
		case <-out.ch.done:
		case <-ctx.Done():
			// The time for stopping is bounded by itself.
			out.Stop(context.WithoutCancel(ctx))
		}
	})
	s.lines(i, StdoutLine, out, out.Stdout)
	wg.Wait()
}

// lines sends the lines of one stream, as many at once as have come. It waits
// with nothing in hand: first for data, then for its turn.
func (s *eventStream) lines(i int, kind EventKind, out *HostOutput, from *Output) {
	for {
		data, err := from.peek(context.Background())
		if timedOut(err) {
			continue // Command.ReadTimeout is for those who read themselves
		}
		if err != nil && err != io.EOF {
			s.send(eventBlock{Event: Event{Kind: kind, Index: i, Output: out, Err: err}})
			return
		}
		select {
		case s.turns <- struct{}{}:
		case <-s.left:
			from.stream.Drop()
			return
		}
		if from.take(data, err == io.EOF) {
			s.send(eventBlock{Event: Event{Kind: kind, Index: i, Output: out, Partial: from.cut}, lines: from.lines, whole: from.whole})
			from.lines = ""
		} else {
			<-s.turns
		}
		if err != nil {
			return
		}
	}
}

// send hands a block to the loop, unless that has been left.
func (s *eventStream) send(b eventBlock) bool {
	b.Time = time.Now()
	select {
	case s.events <- b:
		return true
	case <-s.left:
		return false
	}
}

// yield yields what the block holds. It returns false when the loop was left.
func (b *eventBlock) yield(text *charset.Set, yield func(Event) bool) bool {
	if b.lines == "" {
		return yield(b.Event)
	}
	ev := b.Event
	valid := text == nil && utf8.ValidString(b.lines) // all at once, mostly
	for rest := b.lines; rest != ""; {
		line := rest
		if b.whole {
			rest = ""
		} else {
			line, rest, _ = text.CutLine(rest)
		}
		ev.Text, ev.Err = line, nil
		if !valid {
			ev.Text, ev.Err = decode(text, line)
		}
		if !yield(ev) {
			return false
		}
	}
	return true
}
