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

// Channel is one session on a [Client]: a command, a shell or a subsystem, with its three
// streams. Start it once with Exec, Shell or Subsystem; [Client.Execute] returns a started one.
// Many goroutines may call its methods at once, but only one may use each stream at a time.
//
// The output of the command is taken from the connection at once and kept until it is read.
type Channel struct {
	Stdin  io.WriteCloser
	Stdout *Output
	Stderr *Output

	execution execution
	host      *HostConfig
	done      chan struct{} // closed when the command has ended

	mu            sync.Mutex  // protects what follows, and part of a [session]
	exit          Outcome     // as the server has reported it; Running until then
	outcome       Outcome     // Running until done is closed
	stopping      OutcomeKind // TimedOut or Cancelled while it is being stopped; Lost if its input failed
	failure       error       // the cause, if outcome alone does not tell it
	begun         time.Time
	startDuration time.Duration // of opening the session and starting the command
	runDuration   time.Duration
	limit         time.Duration // Command.Timeout
}

// execution is the part of a [Channel] that differs between a [session], a [runningLine] of a
// console and, if nothing was started, [noSession].
type execution interface {
	request(ctx context.Context, phase Phase, name string, payload []byte) error
	start(ctx context.Context, phase Phase, payload []byte) error
	write(ctx context.Context, text string) error
	closeInput() // after all of Command.Stdin has been sent
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

// Resize changes the size of the command's terminal. It does not wait for the host. If the host is
// slow, it gets only the last of several sizes.
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
// Every step has a time limit; all together take about twenty seconds at most. When ctx ends, Stop
// closes the session at once.
//
// The error is nil if the command has ended in any way, and a [*SessionError] if its end is not
// confirmed.
func (ch *Channel) Stop(ctx context.Context) error { return ch.execution.stop(ctx, Cancelled) }

// Close ends the session without waiting for the command, which may continue to run. The output
// that has arrived stays readable. Close unblocks a Write to Stdin, and may be called more than once.
func (ch *Channel) Close() error { return ch.execution.close() }

// Finished reports, without waiting, whether the command has ended and all of its output has
// arrived.
func (ch *Channel) Finished() bool { return isClosed(ch.done) }

// ExitCode returns the exit code once the server has sent it. Until then ok is false; it stays
// false if a signal ended the command or the server never sends a code.
func (ch *Channel) ExitCode() (code int, ok bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.exit.ExitCode, ch.exit.Kind == Exited
}

// Outcome returns how the command ended. Its Kind is Running until then.
func (ch *Channel) Outcome() Outcome {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.outcome
}

// WaitFinished closes standard input, after all of [Command.Stdin] has been sent, and waits for
// the command to end. The output need not be read.
//
// The error is nil if the exit code is zero, and an [*ExitError] if it is not or if a signal ended
// the command. It is a [*ConnectionError] if the end of the command is unknown, a [*TimeoutError]
// if [Command.Timeout] ended it, and a [*SessionError] if it was stopped or sudo refused the
// password. A command that could not be started has the error of the start. If ctx ends first, the
// error is a [*TimeoutError] with [PhaseWait]: the command continues to run, and WaitFinished may
// be called again.
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

// noSession is the execution of a command that could not be started. A [runningLine] embeds it,
// because a line of a [Console] has no session of its own.
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
