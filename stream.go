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

// eventTurns is how many blocks of lines are buffered at a time; a block is rarely larger than 32
// KiB. More output waits in the Outputs of the hosts, whose memory the budget bounds.
const eventTurns = 32

// Stream runs cmd on every host until it ends, on PoolSize hosts at a time, and yields events as
// they happen. Leaving the loop early or cancelling ctx stops the commands as [Channel.Stop] does.
// All goroutines of Stream have ended when the loop ends. The sequence can be used once.
//
// When ctx ends, the loop continues until every host has had its Finished event: cancelled if the
// host was at work, skipped if it had not begun.
//
// The error is a [*HostArgumentError] or a [*ConfigError]; no host has been contacted in that case.
// An error on a host is in its Finished event.
func (p *ParallelClient) Stream(ctx context.Context, cmd Command) (iter.Seq[Event], error) {
	slots, r, err := p.prepare(cmd)
	if err != nil {
		return nil, err
	}
	return func(yield func(Event) bool) {
		s := &eventStream{p: p, run: r, events: make(chan eventBlock, eventTurns), turns: make(chan struct{}, eventTurns), left: make(chan struct{})}
		s.loop(ctx, yield, func(ctx context.Context) {
			// The error is ignored: each host reports its result in its Finished event.
			_ = s.p.each(ctx, slots, func(ctx context.Context, i int, host *slot) error { return s.host(ctx, i, host) }, func(i int, host *slot, why error) {
				s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: newFailed(i, &host.host, "", why)}})
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
	Partial bool        // the line is longer than 1 MiB and continues in the next event of its kind
	Err     error       // a [*DecodeError] if Text is raw bytes; another one if the output could not be kept
	Time    time.Time
}

// EventKind is the kind of an [Event].
type EventKind int

// Each host yields Started, its lines, then Finished. If the command could not be started, the host
// yields only Finished, with Output.Err set.
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
	turns  chan struct{} // holds a token for each buffered block of lines
	left   chan struct{} // closed when the consumer has left the loop
}

// eventBlock is one event, or several lines of one host.
type eventBlock struct {
	Event
	lines string // complete lines
	whole bool   // lines is one line without a line end
}

// loop yields the events that work sends, until work has returned or the consumer leaves the loop.
func (s *eventStream) loop(ctx context.Context, yield func(Event) bool, work func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	// This runs after the last host, a break, or a panic in the loop.
	defer func() {
		close(s.left)
		cancel()
		wg.Wait()
		if s.run.replay != nil {
			s.run.replay.Close()
		}
	}()
	s.run.readInput()
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

// host runs the command on one host and returns the error of its outcome.
func (s *eventStream) host(ctx context.Context, i int, slot *slot) error {
	defer slot.work.begin(PhaseConnect)()
	out, c := s.p.start(ctx, slot, i, s.run.starter(i))
	if out.Err != nil {
		s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: out}})
		return out.Err
	}
	slot.work.enter(PhaseRun)
	s.watch(ctx, i, out)
	s.p.retireAfter(slot, c, out)
	s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: out}})
	return out.Channel.result()
}

// watch sends the output of a started command until the command has ended. When ctx ends, it stops
// the command.
func (s *eventStream) watch(ctx context.Context, i int, out *HostOutput) {
	s.send(eventBlock{Event: Event{Kind: Started, Index: i, Output: out}})
	var wg sync.WaitGroup
	wg.Go(func() { s.lines(i, StderrLine, out, out.Stderr) })
	wg.Go(func() {
		select {
		case <-out.Channel.done:
		case <-ctx.Done():
			// Stop limits its own time.
			out.Stop(context.WithoutCancel(ctx))
		}
	})
	s.lines(i, StdoutLine, out, out.Stdout)
	wg.Wait()
}

// lines sends the lines of one stream, all that have arrived in one block. It waits first for data,
// then for its turn, and takes no output from the stream before it has the turn.
func (s *eventStream) lines(i int, kind EventKind, out *HostOutput, from *Output) {
	for {
		data, err := from.peek(context.Background())
		if timedOut(err) {
			continue // Command.ReadTimeout applies only to callers that read an Output themselves
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

// send passes a block to the loop. It returns false if the consumer has left the loop.
func (s *eventStream) send(b eventBlock) bool {
	b.Time = time.Now()
	select {
	case s.events <- b:
		return true
	case <-s.left:
		return false
	}
}

// yield yields the events of the block. It returns false if the consumer has left the loop.
func (b *eventBlock) yield(text *charset.Set, yield func(Event) bool) bool {
	if b.lines == "" {
		return yield(b.Event)
	}
	ev := b.Event
	valid := text == nil && utf8.ValidString(b.lines) // cheaper than line by line
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
