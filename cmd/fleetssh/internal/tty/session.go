package tty

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// session carries keys from the terminal to a command, and its output back.
type session struct {
	t      *Terminal
	out    *fleetssh.HostOutput
	keys   *termline.Keys
	hangUp func() error // closes the connection

	sent     chan []byte   // on their way to the host
	detached chan struct{} // closed when the user has left it
	done     chan struct{} // closed in the end

	shown chan error // gets one when a stream has ended or could not be shown
}

// maxQueuedKeys is how many reads of the keyboard may wait for the host. The keys that leave the session
// must be read even if the host takes nothing.
const maxQueuedKeys = 256

// Attach gives the terminal to a command of one host until the command ends, the user leaves
// it, or ctx ends. hangUp closes the connection to a host that does not react. The error is what
// went wrong here; how the command ended is in out.
func (t *Terminal) Attach(ctx context.Context, out *fleetssh.HostOutput, hangUp func() error) error {
	return newSession(t, out, hangUp).run(ctx)
}

func newSession(t *Terminal, out *fleetssh.HostOutput, hangUp func() error) *session {
	return &session{
		t: t, out: out, hangUp: hangUp,
		sent: make(chan []byte, maxQueuedKeys), detached: make(chan struct{}), done: make(chan struct{}), shown: make(chan error, 2),
	}
}

// run is Converse. It restores the terminal before it waits for anything.
func (c *session) run(ctx context.Context) (err error) {
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
		case <-c.detached:
			left = true
		case <-ctx.Done():
		}
	}
	c.t.restore()
	switch {
	case left:
		gone, cancel := context.WithCancel(ctx)
		cancel()
		c.stop(gone, disconnectGrace)
	case err != nil || ctx.Err() != nil:
		c.stop(context.WithoutCancel(ctx), stopGrace)
	default:
		// The output has ended, and the host may still have to say how the command did.
		_ = c.out.WaitFinished(ctx)
		if !c.out.Finished() {
			c.stop(context.WithoutCancel(ctx), stopGrace)
		}
	}
	close(c.done)
	c.keys.End()
	wg.Wait()
	c.keys.Close()
	for timer := time.After(outputGrace); streams > 0 && err == nil; streams-- {
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

// outputGrace is how long showing the rest of the output may take.
const outputGrace = time.Second

// read reads keys, and finds the escapes among them.
func (c *session) read() {
	var e escapes
	for buf := make([]byte, 4<<10); ; {
		n, err := c.keys.Read(buf)
		t := e.parse(buf[:n])
		if t.help {
			_, _ = io.WriteString(c.t.out, escapeHelp) // or what the host writes fails too
		}
		if len(t.send) > 0 {
			select {
			case c.sent <- t.send:
			case <-c.done:
				return
			}
		}
		if t.disconnect || err != nil {
			close(c.detached) // or the terminal is gone, or it is over
			return
		}
	}
}

// send sends keys to the command.
func (c *session) send() {
	for {
		select {
		case keys := <-c.sent:
			if _, err := c.out.Stdin.Write(keys); err != nil {
				return // the command has ended
			}
		case <-c.done:
			return
		}
	}
}

// resize tells the host how large the terminal is.
func (c *session) resize() {
	changes, end := resized()
	defer end()
	for {
		if rows, cols := c.t.size(); rows > 0 && cols > 0 {
			_ = c.out.Resize(rows, cols) // or it has ended
		}
		select {
		case <-changes:
		case <-c.done:
			return
		}
	}
}

// The graces are how long stop waits for the host before it closes the connection. The host may be
// dead, and unread keys may block the connection to it.
const (
	disconnectGrace = time.Second
	stopGrace       = 15 * time.Second // more than Stop takes
)

// stop ends the command. The outcome says whether the host has confirmed that.
func (c *session) stop(ctx context.Context, grace time.Duration) {
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
