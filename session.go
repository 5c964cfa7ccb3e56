package fleetssh

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/sudo"
)

// PTY describes a terminal. Zero fields mean "xterm", 24 rows and 80 columns.
type PTY struct {
	Term       string
	Rows, Cols int
	Modes      ssh.TerminalModes
}

// startGrace is how long a host that was asked to start a command may still answer
// after the call was cancelled.
const startGrace = time.Second

// openSession opens a session (RFC 4254, section 6.1).
func (c *Client) openSession(ctx context.Context, opt streamOptions) (*Channel, error) {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	begun := time.Now()
	c.users.enter()
	ch := newChannel(c, c.d.budget, opt)
	var raw ssh.Channel
	err := c.await(ctx, call{
		do: func() (err error) {
			raw, ch.opened, err = c.link().OpenChannel("session", nil)
			return err
		},
		late: func(err error) {
			if err == nil {
				c.discard(raw, ch.opened)
			}
		},
	})
	if err == nil && c.agent != nil {
		if err = c.agent.request(ctx, c, raw); err != nil {
			c.discard(raw, ch.opened)
		}
	}
	if err != nil {
		c.leave()
		return nil, c.sessionError(ctx, "open", err)
	}
	ch.start = time.Since(begun)
	ch.raw = newSession(raw)
	ch.input = newInput(ch)
	ch.Stdin = ch.input
	return ch, nil
}

// RequestPTY asks for a terminal. Call it before the channel is started. The
// error is as for Exec.
func (ch *Channel) RequestPTY(ctx context.Context, pty PTY) error {
	if pty.Term == "" {
		pty.Term = "xterm"
	}
	if pty.Rows == 0 {
		pty.Rows = 24
	}
	if pty.Cols == 0 {
		pty.Cols = 80
	}
	var modes []byte
	for _, k := range slices.Sorted(maps.Keys(pty.Modes)) { // the same each time
		modes = append(modes, ssh.Marshal(struct {
			Key byte
			Val uint32
		}{k, pty.Modes[k]})...)
	}
	// RFC 4254, section 6.2.
	return ch.request(ctx, "pty", "pty-req", ssh.Marshal(struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{pty.Term, uint32(pty.Cols), uint32(pty.Rows), 0, 0, string(append(modes, 0))}))
}

// Exec starts a command.
//
// The error is a [*SessionError] if the host refuses it, and a [*TimeoutError] or
// [*ConnectionError] if there is no answer, in which case the command may run. When
// ctx ends while the request is on its way, the host has another second to answer:
// then the command runs, and the error is nil.
func (ch *Channel) Exec(ctx context.Context, line string) error {
	return ch.begin(ctx, "exec", execPayload(line), nil)
}

func execPayload(line string) []byte { return ssh.Marshal(struct{ Line string }{line}) }

// Shell starts the user's login shell. The error is as for Exec.
func (ch *Channel) Shell(ctx context.Context) error {
	return ch.begin(ctx, "shell", nil, nil)
}

// Subsystem starts a subsystem of the server, such as "sftp". The error is as for
// Exec.
func (ch *Channel) Subsystem(ctx context.Context, name string) error {
	return ch.begin(ctx, "subsystem", ssh.Marshal(struct{ Name string }{name}), nil)
}

// request makes a request and waits for the answer (RFC 4254, section 5.4).
func (ch *Channel) request(ctx context.Context, op, name string, payload []byte) error {
	return ch.await(ctx, op, call{do: func() error { return ch.ask(name, payload) }})
}

// await makes a call that is a step of starting a command.
func (ch *Channel) await(ctx context.Context, op string, f call) error {
	if ch.raw == nil {
		return &SessionError{Op: op, Err: errClosed}
	}
	ctx, cancel := ch.client.starting(ctx)
	defer cancel()
	if err := ch.client.await(ctx, f); err != nil {
		return ch.client.sessionError(ctx, op, err)
	}
	return nil
}

func (ch *Channel) ask(name string, payload []byte) error {
	ok, err := ch.raw.SendRequest(name, true, payload)
	if err == nil && !ok {
		err = errRequestRefused
	}
	return err
}

// begin starts what the channel is for, and the goroutines that serve it until it
// ends.
func (ch *Channel) begin(ctx context.Context, request string, payload []byte, tokens *sudo.Tokens) error {
	c := ch.client
	if ch.raw == nil {
		return &SessionError{Op: request, Err: errClosed}
	}
	ch.mu.Lock()
	if ch.state != fresh {
		ch.mu.Unlock()
		return &SessionError{Host: c.host.name(), Port: c.host.port(), Op: request, Err: errors.New("the channel has been started or closed before")}
	}
	ch.state, ch.streams = starting, 2 // so that watch cannot end it before it is served
	ch.mu.Unlock()
	began := time.Now()
	// When ctx ends while the request is out, a moment's wait tells whether there
	// is a command to be stopped.
	err := ch.countProgram(ctx, request)
	if err == nil {
		err = ch.await(ctx, request, call{do: func() error { return ch.sendEnv().ask(request, payload) }, then: ch.watch, grace: startGrace})
		if errors.Is(err, errRequestRefused) {
			c.users.removeProgram()
		}
	}
	if err != nil {
		ch.abandon(err)
		return err
	}
	ch.start += time.Since(began)
	if tokens == nil || !tokens.Answering() {
		ch.input.open()
	}
	out, errOut := ch.raw.streams(c.wire)
	ch.mu.Lock()
	ch.state, ch.begun = started, time.Now()
	ch.mu.Unlock()
	filterOut, filterErr := ch.filters(tokens)
	ok := c.spawn(func() { ch.copy(ch.Stdout, out, filterOut) })
	ok = ok && c.spawn(func() { ch.copy(ch.Stderr, errOut, filterErr) })
	if !ok {
		ch.end(Outcome{Kind: Lost}, nil)
	}
	return nil
}

// countProgram counts what is about to be started. See [users].
func (ch *Channel) countProgram(ctx context.Context, request string) error {
	c := ch.client
	if ch.stops != nil {
		c.users.countProgram()
		return nil
	}
	ctx, cancel := c.starting(ctx)
	defer cancel()
	if err := c.users.addProgram(ctx); err != nil {
		return c.sessionError(ctx, request, err)
	}
	return nil
}

// filters returns what watches the streams for sudo: it asks on standard error,
// or on the terminal.
func (ch *Channel) filters(tokens *sudo.Tokens) (out, errOut *sudo.Filter) {
	if tokens == nil {
		return nil, nil
	}
	f := sudo.NewFilter(tokens)
	if ch.run.cmd.PTY != nil {
		return f, nil
	}
	return nil, f
}
