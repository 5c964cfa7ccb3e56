package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// interact runs the command on the only host, with the user's terminal as its own.
func (r *runner) interact(ctx context.Context, t *terminal) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	runCtx := ctx
	if r.o.safety.deadline > 0 {
		var cancel context.CancelFunc
		runCtx, cancel = context.WithTimeout(ctx, r.o.safety.deadline)
		defer cancel()
	}
	r.tally = results.New(r.hosts)
	r.tally.Policy = r.o.safety.exitPolicy
	r.o.record.Simulated = r.c.place != nil
	r.record = r.o.record.Begin(r.c.screen, r.tally, journal.Start{Command: r.title, Instead: r.instead})
	defer r.record.Close()
	r.client = &fleetssh.ParallelClient{
		Hosts: selection.Configs(r.hosts), Logger: slog.New(r.c.warnings), BeforeStart: func(i int) { r.record.Begins(i) },
	}
	r.o.hosts.Protect(r.c.env(), r.client)
	defer r.client.Close()
	command := r.command
	command.OpenStdin = true
	command.PTY.Modes = t.modes()
	outs, err := r.client.RunCommand(runCtx, command)
	if outs == nil {
		return hostFault(err, r.hosts)
	}
	r.c.screen.Flush() // what was said until now stands above
	var local error    // what went wrong here
	if out := outs[0]; out.Err == nil {
		local = newConversation(t, out, r.client.Close).run(runCtx)
	}
	result := r.tally.Add(fleetssh.Event{Kind: fleetssh.Finished, Output: outs[0]})
	r.record.Over(display.NewQuiet(display.View{})).Finished(result)
	r.tally.Interrupted = ctx.Err() != nil
	r.c.warnings.Show(r.c.screen)
	if result.Outcome.Kind != fleetssh.Exited {
		r.showEnd(result)
	}
	ended := r.record.Finish()
	if local != nil && ctx.Err() == nil {
		return local
	}
	return ended
}

// showEnd says how a session has ended that did not end by itself.
func (r *runner) showEnd(result *results.Result) {
	title, _ := result.Title()
	line := "fleetssh: " + r.hosts[0].Label + ": " + title
	if result.Problem.Reason != "" {
		line += ": " + result.Problem.Reason
	}
	r.c.screen.Message(line)
	for _, detail := range result.Problem.Detail {
		r.c.screen.Message("    " + detail)
	}
	hint := result.Problem.Hint
	if k := result.Problem.Key; k != nil && k.Hop == "" {
		hint = results.TrustHint(r.hosts[0].Flags, k, []string{cmp.Or(r.hosts[0].Given, k.Name)})
	}
	if hint != "" {
		r.c.screen.Message("hint: " + hint)
	}
}

// conversation is what goes on between the terminal and a command.
type conversation struct {
	t      *terminal
	out    *fleetssh.HostOutput
	keys   *termline.Keys
	hangUp func() error // closes the connection

	sent chan []byte   // on their way to the host
	left chan struct{} // closed when the user has left it
	over chan struct{} // closed in the end

	shown chan error // gets one when a stream has ended or could not be shown
}

// sentMost is how many times what was typed at once may be on the way: with a host
// that takes nothing, the way out must still be heard.
const sentMost = 256

func newConversation(t *terminal, out *fleetssh.HostOutput, hangUp func() error) *conversation {
	return &conversation{
		t: t, out: out, hangUp: hangUp,
		sent: make(chan []byte, sentMost), left: make(chan struct{}), over: make(chan struct{}), shown: make(chan error, 2),
	}
}

// run goes on until the command ends, the user leaves it, or ctx ends. The terminal is
// restored when it returns, before it waits for anything. The error is what went
// wrong here.
func (c *conversation) run(ctx context.Context) (err error) {
	if c.keys, err = termline.NewKeys(c.t.in); err == nil {
		err = c.t.raw()
	}
	if err != nil {
		c.stop(ctx, stopGrace)
		return err
	}
	defer c.t.restore()
	var wg sync.WaitGroup
	for _, work := range []func(){c.read, c.send, c.resize} {
		wg.Go(func() {
			defer c.t.restoreOnPanic()
			work()
		})
	}
	for _, from := range []*fleetssh.Output{c.out.Stdout, c.out.Stderr} {
		// A terminal that takes nothing holds up whoever writes to it: then the
		// wait for it is bounded, and the process ends soon.
		go func() {
			defer c.t.restoreOnPanic()
			_, err := io.Copy(c.t.out, from)
			c.shown <- err
		}()
	}
	left := false
	streams := 2
	for streams > 0 && err == nil && !left && ctx.Err() == nil {
		select {
		case err = <-c.shown:
			streams--
		case <-c.left:
			left = true
		case <-ctx.Done():
		}
	}
	c.t.restore()
	switch {
	case left:
		gone, cancel := context.WithCancel(ctx)
		cancel()
		c.stop(gone, leaveGrace)
	case err != nil || ctx.Err() != nil:
		c.stop(context.WithoutCancel(ctx), stopGrace)
	default:
		// The output has ended, and the host may still have to say how the command did.
		_ = c.out.WaitFinished(ctx)
		if !c.out.Finished() {
			c.stop(context.WithoutCancel(ctx), stopGrace)
		}
	}
	close(c.over)
	c.keys.End()
	wg.Wait()
	c.keys.Close()
	for timer := time.After(shownGrace); streams > 0 && err == nil; streams-- {
		select {
		case err = <-c.shown:
		case <-timer:
			streams = 0
		}
	}
	if c.out.Outcome().Kind != fleetssh.Exited && err == nil {
		_, err = io.WriteString(c.t.out, "\n") // the host has left the cursor somewhere
	}
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

// shownGrace is how long the last of the output may take to be shown.
const shownGrace = time.Second

// read takes what is typed.
func (c *conversation) read() {
	var e escapes
	for buf := make([]byte, 4<<10); ; {
		n, err := c.keys.Read(buf)
		t := e.take(buf[:n])
		if t.help {
			_, _ = io.WriteString(c.t.out, escapeHelp) // or what the host writes fails too
		}
		if len(t.send) > 0 {
			select {
			case c.sent <- t.send:
			case <-c.over:
				return
			}
		}
		if t.leave || err != nil {
			close(c.left) // or the terminal is gone, or it is over
			return
		}
	}
}

// send sends it.
func (c *conversation) send() {
	for {
		select {
		case keys := <-c.sent:
			if _, err := c.out.Stdin.Write(keys); err != nil {
				return // the command has ended
			}
		case <-c.over:
			return
		}
	}
}

// resize tells the host how large the terminal is.
func (c *conversation) resize() {
	changes, end := resized()
	defer end()
	for {
		if rows, cols := c.t.size(); rows > 0 && cols > 0 {
			_ = c.out.Resize(rows, cols) // or it has ended
		}
		select {
		case <-changes:
		case <-c.over:
			return
		}
	}
}

// How long a host may take to be told that the session ends, before the connection is
// closed: it may be dead, and what was typed may fill the way to it.
const (
	leaveGrace = time.Second
	stopGrace  = 15 * time.Second // more than Stop takes
)

// stop ends the command. Whether the host confirms that is in the outcome.
func (c *conversation) stop(ctx context.Context, grace time.Duration) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = c.out.Stop(ctx)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-stopped:
		return
	case <-timer.C:
	}
	_ = c.hangUp()
	<-stopped
}
