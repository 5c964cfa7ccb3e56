package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/sudo"
)

// PTY describes a terminal. Zero fields mean "xterm", 24 rows and 80 columns.
type PTY struct {
	Term       string
	Rows, Cols int
	Modes      ssh.TerminalModes
}

// startGrace is how long the host may still answer a request to start a command after the
// caller has cancelled the call.
const startGrace = time.Second

// openSession opens a session (RFC 4254, section 6.1).
func (c *Client) openSession(ctx context.Context, opt streamOptions) (*Channel, error) {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	begun := time.Now()
	c.conn.Enter()
	ch := newChannel(c, c.d.budget, opt)
	raw, requests, err := c.conn.Open(ctx, "session", nil)
	if err == nil {
		if err = c.conn.ForwardAgent(ctx, raw); err != nil {
			c.conn.Discard(raw, requests)
		}
	}
	if err != nil {
		c.conn.Leave()
		return nil, c.sessionError(ctx, PhaseOpen, err)
	}
	ch.start = time.Since(begun)
	ch.raw = conn.NewSession(raw, requests)
	ch.input = newInput(ch)
	ch.Stdin = ch.input
	c.conn.SetIdle(ch.raw)
	return ch, nil
}

// start starts the command of r for host number i on the client's connection. It always
// returns an output; its Err says why the command could not be started.
func (c *Client) start(ctx context.Context, r *run, i int) *HostOutput {
	line, sentinels, err := r.line(i)
	failed := func(err error) *HostOutput {
		out := newFailed(0, *c.host, line, err)
		out.connected = c.Timing()
		return out
	}
	if err != nil {
		return failed(err)
	}
	ch, err := c.openSession(ctx, r.options)
	if err != nil {
		return failed(err)
	}
	ch.run = r
	if r.cmd.Script != nil {
		ch.input.first = r.cmd.Script.Text
	}
	if r.replay == nil && !r.cmd.OpenStdin && sentinels == nil && len(ch.input.first) == 0 {
		ch.input.leaveEmpty()
	}
	if r.cmd.PTY != nil {
		if err := ch.RequestPTY(ctx, *r.cmd.PTY); err != nil {
			ch.Close()
			return failed(err)
		}
	}
	phase, payload := PhaseExec, execPayload(line)
	if r.cmd.LoginShell {
		phase, payload = PhaseShell, nil
	}
	// The input is prepared before the start and held back until then. A host that does not
	// answer the start request may be waiting for the input.
	switch {
	case r.replay != nil:
		ch.input.feed(r.replay)
	case !r.cmd.OpenStdin:
		ch.input.Close()
	case len(ch.input.first) > 0:
		ch.input.startPump()
	}
	if err := ch.begin(ctx, phase, payload, sentinels); err != nil {
		return failed(err)
	}
	if r.cmd.Timeout > 0 {
		ch.stopAfter(r.cmd.Timeout)
	}
	return newHostOutput(ch, *c.host, line, c.Timing())
}

// RequestPTY requests a terminal. Call it before Exec, Shell or Subsystem. It returns the same
// errors as Exec.
func (ch *Channel) RequestPTY(ctx context.Context, pty PTY) error {
	if term := ch.client.host.SendEnv["TERM"]; term != "" {
		pty.Term = term // as ssh does: few hosts accept TERM as a variable
	}
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
	for _, k := range slices.Sorted(maps.Keys(pty.Modes)) { // a fixed order
		modes = append(modes, ssh.Marshal(struct {
			Key byte
			Val uint32
		}{k, pty.Modes[k]})...)
	}
	// RFC 4254, section 6.2.
	return ch.request(ctx, PhasePTY, "pty-req", ssh.Marshal(struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}{pty.Term, uint32(pty.Cols), uint32(pty.Rows), 0, 0, string(append(modes, 0))}))
}

// Exec starts a command.
//
// The error is a [*SessionError] if the host refuses the command. It is a [*TimeoutError] or a
// [*ConnectionError] if the host does not answer; the command may run in that case. When ctx
// ends while the request is under way, the host has one more second to answer: if it accepts
// the command in that time, the command runs and the error is nil.
func (ch *Channel) Exec(ctx context.Context, line string) error {
	return ch.begin(ctx, PhaseExec, execPayload(line), nil)
}

func execPayload(line string) []byte { return ssh.Marshal(struct{ Line string }{line}) }

// Shell starts the user's login shell. It returns the same errors as Exec.
func (ch *Channel) Shell(ctx context.Context) error {
	return ch.begin(ctx, PhaseShell, nil, nil)
}

// Subsystem starts a subsystem of the server, such as "sftp". It returns the same errors as Exec.
func (ch *Channel) Subsystem(ctx context.Context, name string) error {
	return ch.begin(ctx, PhaseSubsystem, ssh.Marshal(struct{ Name string }{name}), nil)
}

// request sends a channel request and waits for the reply (RFC 4254, section 5.4).
func (ch *Channel) request(ctx context.Context, phase Phase, name string, payload []byte) error {
	return ch.await(ctx, phase, conn.Call{Do: func() error { return ch.ask(name, payload) }})
}

// await makes a call that is one step of starting a command, within the time limit for starting.
func (ch *Channel) await(ctx context.Context, phase Phase, f conn.Call) error {
	if ch.raw == nil {
		return &SessionError{Phase: phase, Err: conn.ErrClosed}
	}
	ctx, cancel := ch.client.starting(ctx)
	defer cancel()
	if err := ch.client.conn.Call(ctx, f); err != nil {
		return ch.client.sessionError(ctx, phase, err)
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

// begin starts the command, shell or subsystem, and the goroutines that serve the channel until
// it ends. The phase has the name of the request (RFC 4254, section 6.5): "exec", "shell" or
// "subsystem".
func (ch *Channel) begin(ctx context.Context, phase Phase, payload []byte, sentinels *sudo.Sentinels) error {
	c := ch.client
	if ch.raw == nil {
		return &SessionError{Phase: phase, Err: conn.ErrClosed}
	}
	ch.mu.Lock()
	was := ch.state
	if was == fresh {
		ch.state, ch.streams, ch.begun = starting, 2, time.Now()
	}
	ch.mu.Unlock()
	if was != fresh {
		return &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: phase, Err: errors.New("the channel has been started or closed before")}
	}
	ctx, cancel := c.starting(ctx)
	defer cancel()
	if err := ch.countProgram(ctx); err != nil {
		err = c.sessionError(ctx, phase, err)
		ch.abandon(fresh, err)
		return err
	}
	answer := make(chan error, 1)
	c.conn.SetUsed(ch.raw)
	ok := c.conn.Go(func() {
		err := ch.sendEnv().ask(string(phase), payload)
		ch.answered.Store(true)
		answer <- err
		if err == nil && ch.input.empty {
			ch.input.end()
		}
		ch.watch()
	})
	err := conn.ErrClosed
	if ok {
		err = ch.waitStart(ctx, answer, sentinels)
	}
	if errors.Is(err, errRequestRefused) {
		c.conn.RemoveProgram()
	}
	if err != nil {
		err = c.sessionError(ctx, phase, err)
		ch.abandon(starting, err)
		return err
	}
	if ch.input.empty && !ch.answered.Load() && !ch.hasExited() {
		c.conn.SendSoon(ch.input.end)
	}
	if sentinels == nil || !sentinels.Answering() {
		ch.input.open()
	}
	if ch.heard == nil {
		ch.readOutput(sentinels)
	}
	ch.mu.Lock()
	ch.start += time.Since(ch.begun)
	ch.state, ch.begun, ch.heard = started, time.Now(), nil
	ch.unlockAndEnd()
	return nil
}

// readOutput starts the goroutines that read stdout and stderr until they end.
func (ch *Channel) readOutput(sentinels *sudo.Sentinels) {
	out, errOut := ch.filters(sentinels)
	early := ch.heard != nil
	ok := ch.client.conn.Go(func() {
		from, errFrom := ch.raw.Streams(ch.client.conn)
		if early {
			from, errFrom = &heeding{Reader: from, ch: ch}, &heeding{Reader: errFrom, ch: ch}
		}
		ch.client.conn.Fork(func() { ch.copy(ch.Stderr, errFrom, errOut) })
		ch.copy(ch.Stdout, from, out)
	})
	if !ok { // the client is closed
		ch.mu.Lock()
		ch.streams = 0
		ch.unlockAndEnd()
	}
}

// readEarly starts to read output and exit status before the host has answered the start request.
// Some hosts never answer, and output and status may arrive before the answer.
func (ch *Channel) readEarly(sentinels *sudo.Sentinels) {
	if ch.heard != nil {
		return // called before
	}
	ch.mu.Lock()
	ch.heard = make(chan struct{}, 1)
	ch.mu.Unlock()
	ch.client.conn.Go(ch.watch)
	ch.readOutput(sentinels)
}

// waitStart waits until the host has started the command or refused it. A host should answer
// the request at once. If it does not, an exit status counts as success; so does output, unless
// a refusal follows within startGrace. When ctx ends while the request is under way, waitStart
// waits for startGrace to learn whether there is a command to stop. Without an answer within
// startGrace the input is sent, unless sudo must read the password first: the command may be
// running and waiting for it. ssh does not wait for the answer at all.
func (ch *Channel) waitStart(ctx context.Context, answer <-chan error, sentinels *sudo.Sentinels) error {
	var failure error
	var grace <-chan time.Time
	late := false
	slow := time.NewTimer(startGrace)
	defer slow.Stop()
	wait := func() {
		if grace == nil {
			grace = time.After(startGrace)
		}
	}
	for over := ctx.Done(); ; {
		select {
		case err := <-answer:
			if err == nil || errors.Is(err, errRequestRefused) {
				return err
			}
			// The channel has ended without an answer. Output and status that arrived before
			// may not have passed copy and watch yet.
			answer, failure = nil, err
			wait()
		case <-over:
			over = nil
			if failure == nil {
				failure = deadline.Cause(ctx)
			}
			wait()
		case <-ch.heard:
		case <-slow.C:
			if !ch.input.empty && (sentinels == nil || !sentinels.Answering()) {
				ch.input.open()
			}
		case <-grace:
			late = true
		}
		ch.readEarly(sentinels)
		ch.mu.Lock()
		exited, wrote, ended := ch.exit.Kind != Running, ch.wrote, ch.closed && ch.streams == 0
		ch.mu.Unlock()
		switch last := late || ended && answer == nil; {
		case exited, wrote && last:
			return nil
		case last:
			return failure
		case wrote:
			wait()
		}
	}
}

// heeding reads an output stream and wakes waitStart at the first bytes.
type heeding struct {
	io.Reader
	ch   *Channel
	told bool
}

func (h *heeding) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 && !h.told {
		h.told = true
		h.ch.mu.Lock()
		h.ch.wrote = true
		h.ch.hear()
		h.ch.mu.Unlock()
	}
	return n, err
}

// hear wakes waitStart. ch.mu is held.
func (ch *Channel) hear() {
	if ch.state == starting {
		select {
		case ch.heard <- struct{}{}:
		default: // an earlier wake-up is still pending
		}
	}
}

// countProgram counts the program that is about to start. See [users].
func (ch *Channel) countProgram(ctx context.Context) error {
	if ch.stops != nil {
		ch.client.conn.AddProgramNow()
		return nil
	}
	return ch.client.conn.AddProgram(ctx)
}

// filters returns the filters that watch the output for sudo's prompts. sudo prompts on stderr,
// or on the terminal if there is one.
func (ch *Channel) filters(sentinels *sudo.Sentinels) (out, errOut *sudo.Filter) {
	if sentinels == nil {
		return nil, nil
	}
	f := sudo.NewFilter(sentinels)
	if ch.run.cmd.PTY != nil {
		return f, nil
	}
	return nil, f
}

// Limits of SendEnv. sshd accepts at most 128 variables in a session.
const (
	maxEnv     = 128
	maxEnvSize = 2 << 20 // bytes of all names and values
)

// sendEnv sends the variables of HostConfig.SendEnv (RFC 4254, section 6.4). Like ssh, it asks
// for no reply: the host decides which variables it accepts. Write errors are ignored because
// the next request returns the same error.
func (ch *Channel) sendEnv() *Channel {
	env := ch.client.host.SendEnv
	for _, name := range slices.Sorted(maps.Keys(env)) {
		_, _ = ch.raw.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, env[name]}))
	}
	return ch
}

// envFault says why variables cannot be sent.
func envFault(env map[string]string) string {
	if len(env) > maxEnv {
		return fmt.Sprintf("more than %d variables", maxEnv)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return fmt.Sprintf("%q is not the name of a variable", name)
		case strings.IndexByte(env[name], 0) >= 0:
			return fmt.Sprintf("the value of %s holds a NUL byte", name)
		}
		size += len(name) + len(env[name])
	}
	if size > maxEnvSize {
		return fmt.Sprintf("more than %d MiB", maxEnvSize>>20)
	}
	return ""
}
