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

// session copies keys from the terminal to a command, and its output back.
type session struct {
	t      *Terminal
	out    *fleetssh.HostOutput
	keys   *termline.Keys
	hangUp func() error // closes the connection

	sent     chan []byte   // keys for the host
	detached chan struct{} // closed when the user has disconnected
	done     chan struct{} // closed at the end

	shown chan error // receives the result of copying each stream
}

// maxQueuedKeys is how many reads of the keyboard are buffered: the escape to disconnect must be read
// even if the host accepts no input.
const maxQueuedKeys = 256

// Attach gives the terminal to a command on one host until the command ends, the user disconnects,
// or ctx ends. hangUp closes the connection to a host that does not react. The error is about the
// local terminal; out has the outcome of the command.
func (t *Terminal) Attach(ctx context.Context, out *fleetssh.HostOutput, hangUp func() error) error {
	return newSession(t, out, hangUp).run(ctx)
}

func newSession(t *Terminal, out *fleetssh.HostOutput, hangUp func() error) *session {
	return &session{
		t: t, out: out, hangUp: hangUp,
		sent: make(chan []byte, maxQueuedKeys), detached: make(chan struct{}), done: make(chan struct{}), shown: make(chan error, 2),
	}
}

// run implements Attach. It restores the terminal before it waits for the host.
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
		// Writing to a stopped terminal blocks. The wait for this goroutine is bounded, and the
		// process ends soon.
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
		// The output has ended, but the exit status may still arrive.
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
		_, err = io.WriteString(c.t.out, "\n") // the cursor may be anywhere
	}
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

// outputGrace is how long the rest of the output may take to be shown.
const outputGrace = time.Second

// read reads keys, and acts on the escapes among them.
func (c *session) read() {
	var e escapes
	for buf := make([]byte, 4<<10); ; {
		n, err := c.keys.Read(buf)
		t := e.parse(buf[:n])
		if t.help {
			_, _ = io.WriteString(c.t.out, escapeHelp) // an error here shows up in the output as well
		}
		if len(t.send) > 0 {
			select {
			case c.sent <- t.send:
			case <-c.done:
				return
			}
		}
		if t.disconnect || err != nil {
			close(c.detached) // also when the terminal is gone, or at the end
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

// resize sends the size of the terminal to the host.
func (c *session) resize() {
	changes, end := resized()
	defer end()
	for {
		if rows, cols := c.t.size(); rows > 0 && cols > 0 {
			_ = c.out.Resize(rows, cols) // this fails only if the command has ended
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
	stopGrace       = 25 * time.Second // more than Stop takes
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
