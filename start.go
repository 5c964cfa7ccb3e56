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
func (c *Client) openSession(ctx context.Context, opt streamOptions) (*session, error) {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	begun := time.Now()
	c.conn.Enter()
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
	s := &session{client: c, raw: conn.NewSession(raw, requests), cmd: &noCommand}
	s.init(s, c.host, c.d.budget, opt)
	s.startDuration = time.Since(begun)
	s.input = newInput(s)
	s.Stdin = s.input
	c.conn.SetIdle(s.raw)
	return s, nil
}

// start starts the command of r for host number i on the client's connection. It always
// returns an output; its Err says why the command could not be started.
func (c *Client) start(ctx context.Context, r *run, i int) *HostOutput {
	line, sentinels, err := r.line(i)
	failed := func(err error) *HostOutput {
		out := newFailed(0, c.host, line, err)
		out.connected = c.Timing()
		return out
	}
	if err != nil {
		return failed(err)
	}
	s, err := c.openSession(ctx, r.options)
	if err != nil {
		return failed(err)
	}
	s.cmd, s.sentinels = &r.cmd, sentinels
	if r.cmd.Script != nil {
		s.input.first = r.cmd.Script.Text
	}
	if r.replay == nil && !r.cmd.OpenStdin && sentinels == nil && len(s.input.first) == 0 {
		s.input.leaveEmpty()
	}
	if r.cmd.PTY != nil {
		if err := s.RequestPTY(ctx, *r.cmd.PTY); err != nil {
			s.Close()
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
		s.input.feed(r.replay)
	case !r.cmd.OpenStdin:
		s.input.Close()
	case len(s.input.first) > 0:
		s.input.startPump()
	}
	if err := s.start(ctx, phase, payload); err != nil {
		return failed(err)
	}
	if r.cmd.Timeout > 0 {
		s.stopAfter(r.cmd.Timeout)
	}
	return newHostOutput(&s.Channel, line, c.Timing())
}

// request sends a channel request and waits for the reply (RFC 4254, section 5.4).
func (s *session) request(ctx context.Context, phase Phase, name string, payload []byte) error {
	return s.await(ctx, phase, conn.Call{Do: func() error { return s.ask(name, payload) }})
}

// await makes a call that is one step of starting a command, within the time limit for starting.
func (s *session) await(ctx context.Context, phase Phase, f conn.Call) error {
	ctx, cancel := s.client.starting(ctx)
	defer cancel()
	if err := s.client.conn.Call(ctx, f); err != nil {
		return s.client.sessionError(ctx, phase, err)
	}
	return nil
}

func (s *session) ask(name string, payload []byte) error {
	ok, err := s.raw.SendRequest(name, true, payload)
	if err == nil && !ok {
		err = errRequestRefused
	}
	return err
}

// start starts the command, shell or subsystem, and the goroutines that serve the channel until
// it ends. The phase has the name of the request (RFC 4254, section 6.5): "exec", "shell" or
// "subsystem".
func (s *session) start(ctx context.Context, phase Phase, payload []byte) error {
	c := s.client
	s.mu.Lock()
	was := s.state
	if was == fresh {
		s.state, s.streams, s.begun = starting, 2, time.Now()
	}
	s.mu.Unlock()
	if was != fresh {
		return &SessionError{Host: c.host.name(), Port: c.host.port(), Phase: phase, Err: errors.New("the channel has been started or closed before")}
	}
	ctx, cancel := c.starting(ctx)
	defer cancel()
	if err := s.countProgram(ctx); err != nil {
		err = c.sessionError(ctx, phase, err)
		s.abandon(fresh, err)
		return err
	}
	answer := make(chan error, 1)
	c.conn.SetUsed(s.raw)
	ok := c.conn.Go(func() {
		s.sendEnv()
		err := s.ask(string(phase), payload)
		s.answered.Store(true)
		answer <- err
		if err == nil && s.input.empty {
			s.input.end()
		}
		s.watch()
	})
	err := conn.ErrClosed
	if ok {
		err = s.waitStart(ctx, answer)
	}
	if errors.Is(err, errRequestRefused) {
		c.conn.RemoveProgram()
	}
	if err != nil {
		err = c.sessionError(ctx, phase, err)
		s.abandon(starting, err)
		return err
	}
	if s.input.empty && !s.answered.Load() && !s.hasExited() {
		c.conn.SendSoon(s.input.end)
	}
	if !s.answersSudo() {
		s.input.open()
	}
	if s.wake == nil {
		s.readOutput()
	}
	s.mu.Lock()
	s.startDuration += time.Since(s.begun)
	s.state, s.begun, s.wake = started, time.Now(), nil
	s.unlockAndEnd()
	return nil
}

// readOutput starts the goroutines that read stdout and stderr until they end.
func (s *session) readOutput() {
	out, errOut := s.filters()
	early := s.wake != nil
	ok := s.client.conn.Go(func() {
		from, errFrom := s.raw.Streams(s.client.conn)
		if early {
			from, errFrom = &earlyReader{Reader: from, session: s}, &earlyReader{Reader: errFrom, session: s}
		}
		s.client.conn.Fork(func() { s.copy(s.Stderr, errFrom, errOut) })
		s.copy(s.Stdout, from, out)
	})
	if !ok { // the client is closed
		s.mu.Lock()
		s.streams = 0
		s.unlockAndEnd()
	}
}

// readEarly starts to read output and exit status before the host has answered the start request.
// Some hosts never answer, and output and status may arrive before the answer.
func (s *session) readEarly() {
	if s.wake != nil {
		return // called before
	}
	s.mu.Lock()
	s.wake = make(chan struct{}, 1)
	s.mu.Unlock()
	s.client.conn.Go(s.watch)
	s.readOutput()
}

// waitStart waits until the host has started the command or refused it. A host should answer
// the request at once. If it does not, an exit status counts as success; so does output, unless
// a refusal follows within startGrace. When ctx ends while the request is under way, waitStart
// waits for startGrace to learn whether there is a command to stop. Without an answer within
// startGrace the input is sent, unless sudo must read the password first: the command may be
// running and waiting for it. ssh does not wait for the answer at all.
func (s *session) waitStart(ctx context.Context, answer <-chan error) error {
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
		case <-s.wake:
		case <-slow.C:
			if !s.input.empty && !s.answersSudo() {
				s.input.open()
			}
		case <-grace:
			late = true
		}
		s.readEarly()
		s.mu.Lock()
		exited, wrote, ended := s.exit.Kind != Running, s.wrote, s.closed && s.streams == 0
		s.mu.Unlock()
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

// earlyReader reads an output stream and wakes waitStart at the first bytes.
type earlyReader struct {
	io.Reader
	session  *session
	reported bool
}

func (r *earlyReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if s := r.session; n > 0 && !r.reported {
		r.reported = true
		s.mu.Lock()
		s.wrote = true
		s.wakeStart()
		s.mu.Unlock()
	}
	return n, err
}

// wakeStart wakes waitStart. s.mu is held.
func (s *session) wakeStart() {
	if s.state == starting {
		select {
		case s.wake <- struct{}{}:
		default: // an earlier wake-up is still pending
		}
	}
}

// answersSudo reports whether sudo is to read a password before the command reads its input.
func (s *session) answersSudo() bool { return s.sentinels != nil && s.sentinels.Answering() }

// countProgram counts the program that is about to start. See [users].
func (s *session) countProgram(ctx context.Context) error {
	if s.stopper {
		s.client.conn.AddProgramNow()
		return nil
	}
	return s.client.conn.AddProgram(ctx)
}

// filters returns the filters that watch the output for sudo's prompts. sudo prompts on stderr,
// or on the terminal if there is one.
func (s *session) filters() (out, errOut *sudo.Filter) {
	if s.sentinels == nil {
		return nil, nil
	}
	f := sudo.NewFilter(s.sentinels)
	if s.cmd.PTY != nil {
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
func (s *session) sendEnv() {
	env := s.client.host.SendEnv
	for _, name := range slices.Sorted(maps.Keys(env)) {
		_, _ = s.raw.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, env[name]}))
	}
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
