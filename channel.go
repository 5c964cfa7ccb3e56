package fleetssh

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/charset"
	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/spool"
)

// Channel is one session on a [Client]: a command, a shell or a subsystem, and
// its three streams. Start it once with Exec, Shell or Subsystem; Execute
// returns one already started. Its methods may be called by many goroutines at
// once; each stream is for one at a time.
//
// What the command writes is taken from the connection and kept, whether anybody
// reads it or not.
type Channel struct {
	Stdin  io.WriteCloser
	Stdout *Output
	Stderr *Output

	execution execution
	host      *HostConfig
	done      chan struct{} // closed when the command has ended

	mu            sync.Mutex  // protects what follows, and part of a [session]
	exit          Outcome     // what the server has said; Kind is Running until it has
	outcome       Outcome     // how it ended; Kind is Running until done is closed
	stopping      OutcomeKind // TimedOut or Cancelled, once it is being stopped; Lost if its input is broken
	failure       error       // what went wrong, if outcome does not tell
	begun         time.Time
	startDuration time.Duration // of opening and starting
	runDuration   time.Duration
	limit         time.Duration // Command.Timeout
}

// execution is what a [Channel] controls: a [session], a [consoleLine], or, if nothing was started,
// [noSession].
type execution interface {
	request(ctx context.Context, phase Phase, name string, payload []byte) error
	start(ctx context.Context, phase Phase, payload []byte) error
	write(ctx context.Context, text string) error
	closeInput() // but not before all of Command.Stdin has been sent
	resize(rows, cols int) error
	signal(ctx context.Context, sig ssh.Signal) error
	stop(ctx context.Context, why OutcomeKind) error
	close() error
}

// streamOptions say how output is kept and read.
type streamOptions struct {
	text        *charset.Set
	readTimeout time.Duration
	max         int64
}

// init prepares a channel for its first use.
func (ch *Channel) init(e execution, host *HostConfig, budget *spool.Budget, opt streamOptions) {
	ch.execution, ch.host, ch.done = e, host, make(chan struct{})
	ch.Stdout, ch.Stderr = newOutput(host, budget, opt), newOutput(host, budget, opt)
}

// RequestPTY requests a terminal. Call it before Exec, Shell or Subsystem. It returns the same
// errors as Exec.
func (ch *Channel) RequestPTY(ctx context.Context, pty PTY) error {
	if term := ch.host.SendEnv["TERM"]; term != "" {
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
	return ch.execution.request(ctx, PhasePTY, "pty-req", ssh.Marshal(struct {
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
	return ch.execution.start(ctx, PhaseExec, execPayload(line))
}

func execPayload(line string) []byte { return ssh.Marshal(struct{ Line string }{line}) }

// Shell starts the user's login shell. It returns the same errors as Exec.
func (ch *Channel) Shell(ctx context.Context) error {
	return ch.execution.start(ctx, PhaseShell, nil)
}

// Subsystem starts a subsystem of the server, such as "sftp". It returns the same errors as Exec.
func (ch *Channel) Subsystem(ctx context.Context, name string) error {
	return ch.execution.start(ctx, PhaseSubsystem, ssh.Marshal(struct{ Name string }{name}))
}

// Resize tells the command's terminal its new size. It does not wait for the host, which
// hears of the last of several sizes when it reads.
func (ch *Channel) Resize(rows, cols int) error { return ch.execution.resize(rows, cols) }

// Signal sends sig to the command. The error is a [*SessionError] if the host did not accept the
// signal. OpenSSH accepts signals for commands of ordinary users; it refuses them for commands of
// root and cannot signal a command that sudo runs.
func (ch *Channel) Signal(ctx context.Context, sig ssh.Signal) error {
	return ch.execution.signal(ctx, sig)
}

// Stop ends the command: it sends TERM, two seconds later KILL, then closes the session. A second
// session sends the signals if the server does not accept them (OpenSSH for root and for sudo) or
// passes them to the shell alone (dropbear). Stopped in the [Outcome] says whether the end of the
// command is confirmed, including all processes that it has started and that still belong to it.
// Every step has a time limit; all together take about ten seconds at most. When ctx ends, Stop
// closes the session at once.
//
// The error is nil if the command has ended in any way, and a [*SessionError] if its end is not
// confirmed.
func (ch *Channel) Stop(ctx context.Context) error { return ch.execution.stop(ctx, Cancelled) }

// Close ends the session without waiting for the command, which may run on. What
// it has written until now stays readable. It is safe to call more than once, and
// frees a Write to Stdin that waits.
func (ch *Channel) Close() error { return ch.execution.close() }

// Finished reports whether the command has ended and all of its output is here,
// without waiting.
func (ch *Channel) Finished() bool { return isClosed(ch.done) }

// ExitCode returns the exit code, as soon as the server has sent it. Until then,
// if a signal ended the command, and if the server never sent a code, ok is false.
func (ch *Channel) ExitCode() (code int, ok bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.exit.ExitCode, ch.exit.Kind == Exited
}

// Outcome says how the command ended; its Kind is Running until it has.
func (ch *Channel) Outcome() Outcome {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.outcome
}

// WaitFinished closes standard input, once everything given as [Command.Stdin] has
// been sent, and waits for the command to end. Output need not be read.
//
// It returns nil if the exit code is zero and an [*ExitError] if it is not or a
// signal ended the command; a [*ConnectionError] if nobody said how it ended; a
// [*TimeoutError] if [Command.Timeout] ended it; a [*SessionError] if it was
// stopped or sudo refused the password; and what kept it from starting. If ctx
// ends first the error is a [*TimeoutError] whose Phase is [PhaseWait]: the command runs
// on and may be waited for again.
func (ch *Channel) WaitFinished(ctx context.Context) error {
	ch.execution.closeInput()
	begun := time.Now()
	select {
	case <-ch.done:
		return ch.result()
	default:
	}
	select {
	case <-ch.done:
		return ch.result()
	case <-ctx.Done():
	}
	host, port := ch.address()
	timeout := &TimeoutError{Host: host, Port: port, Phase: PhaseWait, After: time.Since(begun)}
	if cause := deadline.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		timeout.Err = cause
	}
	return timeout
}

// result returns the error that the outcome stands for.
func (ch *Channel) result() error {
	host, port := ch.address()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.failure != nil {
		return ch.failure
	}
	switch o := ch.outcome; o.Kind {
	case Exited:
		if o.ExitCode != 0 {
			return &ExitError{Host: host, Code: o.ExitCode}
		}
	case Signaled:
		return &ExitError{Host: host, Code: -1, Signal: ssh.Signal(o.Signal)}
	case TimedOut:
		return &TimeoutError{Host: host, Port: port, Phase: PhaseRun, After: ch.limit}
	case Cancelled:
		return &SessionError{Host: host, Port: port, Phase: PhaseRun, Err: context.Canceled}
	}
	return nil
}

// context returns a context that ends with the command.
func (ch *Channel) context() context.Context { return channelContext{context.Background(), ch} }

type channelContext struct {
	context.Context
	ch *Channel
}

func (c channelContext) Done() <-chan struct{} { return c.ch.done }

func (c channelContext) Err() error {
	if c.ch.Finished() {
		return context.Canceled
	}
	return nil
}

// address returns the name and port for errors.
func (ch *Channel) address() (string, int) { return ch.host.name(), ch.host.port() }

// noSession is the execution of what has no session of its own: a command that could not be
// started, and, except for its signals, a line of a [Console].
type noSession struct{}

func (noSession) request(_ context.Context, phase Phase, _ string, _ []byte) error {
	return &SessionError{Phase: phase, Err: conn.ErrClosed}
}

func (noSession) start(_ context.Context, phase Phase, _ []byte) error {
	return &SessionError{Phase: phase, Err: conn.ErrClosed}
}

func (noSession) write(context.Context, string) error { return conn.ErrClosed }
func (noSession) closeInput()                         {}
func (noSession) resize(int, int) error               { return conn.ErrClosed }

func (noSession) signal(context.Context, ssh.Signal) error {
	return &SessionError{Phase: PhaseSignal, Err: conn.ErrClosed}
}

func (noSession) stop(context.Context, OutcomeKind) error { return nil }
func (noSession) close() error                            { return nil }
