package fleetssh

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/spool"
)

// HostOutput is a command on one host, with its streams. If the command could not be started, Err
// says why, Finished returns true and the streams are empty. Many goroutines may call its methods
// at once, but only one may use each stream at a time.
//
// The output of the command is kept until it is read. See [Channel] for the steps before the
// start.
type HostOutput struct {
	Index       int // of the host in ParallelClient.Hosts; 0 for a Client
	Host        HostConfig
	CommandLine string // as sent to the host
	Err         error

	Stdin  io.WriteCloser
	Stdout *Output
	Stderr *Output

	// Channel is the session of the command. It has the same streams.
	Channel *Channel

	connected Timing
}

// newHostOutput returns the output of a command on a channel.
func newHostOutput(ch *Channel, line string, connected Timing) *HostOutput {
	return &HostOutput{Host: *ch.host, CommandLine: line, Stdin: ch.Stdin, Stdout: ch.Stdout, Stderr: ch.Stderr, Channel: ch, connected: connected}
}

// Finished reports whether the command has ended, without waiting: see [Channel.Finished].
func (o *HostOutput) Finished() bool { return o.Channel.Finished() }

// WaitFinished waits for the end of the command: see [Channel.WaitFinished].
func (o *HostOutput) WaitFinished(ctx context.Context) error { return o.Channel.WaitFinished(ctx) }

// Outcome returns how the command has ended: see [Channel.Outcome].
func (o *HostOutput) Outcome() Outcome { return o.Channel.Outcome() }

// ExitCode returns the exit code of the command: see [Channel.ExitCode].
func (o *HostOutput) ExitCode() (code int, ok bool) { return o.Channel.ExitCode() }

// Signal sends a signal to the command: see [Channel.Signal].
func (o *HostOutput) Signal(ctx context.Context, sig ssh.Signal) error {
	return o.Channel.Signal(ctx, sig)
}

// Stop ends the command and its processes: see [Channel.Stop].
func (o *HostOutput) Stop(ctx context.Context) error { return o.Channel.Stop(ctx) }

// Resize tells the command the size of its terminal: see [Channel.Resize].
func (o *HostOutput) Resize(rows, cols int) error { return o.Channel.Resize(rows, cols) }

// Close closes the session; the command may continue to run: see [Channel.Close].
func (o *HostOutput) Close() error { return o.Channel.Close() }

// Timing holds how long each phase took on one host. The phases that were not reached are zero.
// Proxy is the wait for the connection to the hop, which is short if other hosts use it already.
type Timing struct {
	Proxy, Resolve, Connect, Handshake, Auth, Start, Run time.Duration
	Attempts                                             int
}

// Timing returns how long each phase took. Run is zero until the command has ended. The phases of
// connecting describe the connection that the command runs on, even if an earlier command has
// opened it.
func (o *HostOutput) Timing() Timing {
	t := o.connected
	o.Channel.mu.Lock()
	defer o.Channel.mu.Unlock()
	t.Start, t.Run = o.Channel.startDuration, o.Channel.runDuration
	return t
}

// Outcome says how the work on one host ended. Every host has exactly one.
type Outcome struct {
	Kind     OutcomeKind
	ExitCode int    // for Exited
	Signal   string // for Signaled, without "SIG"
	Phase    Phase  // the phase reached, for Unreachable, NotStarted, and Cancelled before the start
	Stopped  bool   // for TimedOut and Cancelled: the end of the whole command is confirmed
}

// OutcomeKind is the kind of an [Outcome].
type OutcomeKind int

// The kinds of outcome. [Outcome.MayHaveRun] reports for which kinds the command may have had an
// effect.
const (
	Running     OutcomeKind = iota // the command has not ended yet
	Exited                         // it ran and returned an exit code
	Signaled                       // it ran and was ended by a signal
	TimedOut                       // it was stopped after Command.Timeout
	Lost                           // its end is unknown: it may have run
	Cancelled                      // the caller stopped it
	Unreachable                    // connecting or logging in failed: it never ran
	NotStarted                     // the host refused the session, command, sudo or key: it never ran
	Skipped                        // the host was never tried
)

var outcomeNames = [...]string{"running", "exited", "signaled", "timed_out", "lost", "cancelled", "unreachable", "not_started", "skipped"}

// String returns the name used in JSON output, such as "timed_out".
func (k OutcomeKind) String() string {
	if k < 0 || int(k) >= len(outcomeNames) {
		return "unknown"
	}
	return outcomeNames[k]
}

// OK reports whether the command ran and returned exit code zero.
func (o Outcome) OK() bool { return o.Kind == Exited && o.ExitCode == 0 }

// String returns the outcome in words, such as "exited 3", "unreachable (auth)" or
// "timed out, may still run".
func (o Outcome) String() string {
	switch o.Kind {
	case Running, Skipped:
		return o.Kind.String()
	case Exited:
		return "exited " + strconv.Itoa(o.ExitCode)
	case Signaled:
		return "ended by signal " + o.Signal
	case TimedOut:
		return "timed out" + o.stoppedText()
	case Lost:
		return "lost, may have run"
	case Cancelled:
		if o.Phase == "" {
			return "cancelled" + o.stoppedText()
		}
	}
	text := strings.ReplaceAll(o.Kind.String(), "_", " ")
	if o.Phase != "" {
		text += " (" + string(o.Phase) + ")"
	}
	return text
}

func (o Outcome) stoppedText() string {
	if o.Stopped {
		return " and stopped"
	}
	return ", may still run"
}

// Err returns nil if the outcome is OK, and an [*OutcomeError] otherwise. The error of
// [HostOutput.WaitFinished] names the host and the cause as well.
func (o Outcome) Err() error {
	if o.OK() {
		return nil
	}
	return &OutcomeError{Outcome: o}
}

// MayHaveRun reports whether the command may have had an effect on the host.
func (o Outcome) MayHaveRun() bool {
	switch o.Kind {
	case Unreachable, NotStarted, Skipped:
		return false
	case Cancelled:
		return o.Phase == ""
	}
	return true
}

// newFailed returns the output of a command that could not be started.
func newFailed(index int, host *HostConfig, line string, err error) *HostOutput {
	ch := &Channel{Stdin: closedInput{}, outcome: OutcomeOf(err), failure: err}
	ch.init(noSession{}, host, spool.NewBudget(0), streamOptions{})
	ch.Stdout.stream.CloseWrite(nil)
	ch.Stderr.stream.CloseWrite(nil)
	close(ch.done)
	out := newHostOutput(ch, line, Timing{})
	out.Index, out.Err = index, err
	return out
}

// closedInput is the standard input of a command that was not started.
type closedInput struct{}

func (closedInput) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (closedInput) Close() error              { return nil }

// OutcomeOf returns the [Outcome] of a host on which err kept the work from starting: for example
// the error of [Dial], [ParallelClient.Client] or [Client.RunCommand]. It treats nil and any error
// that is not of this package as a failed connection.
func OutcomeOf(err error) Outcome {
	switch {
	case errors.Is(err, errSkipped):
		return Outcome{Kind: Skipped}
	case err == conn.ErrClosed:
		return Outcome{Kind: NotStarted}
	}
	phase := phaseOf(err)
	switch phase {
	case PhaseExec, PhaseShell, PhaseSubsystem:
		if _, refused := err.(*SessionError); !refused {
			// The request has been sent, and the host has not reported a result.
			if errors.Is(err, context.Canceled) {
				return Outcome{Kind: Cancelled}
			}
			return Outcome{Kind: Lost}
		}
	}
	if errors.Is(err, context.Canceled) {
		return Outcome{Kind: Cancelled, Phase: phase}
	}
	switch e := err.(type) {
	case *PKeyFileError, *SessionError, *PasswordError, *ConfigError:
		return Outcome{Kind: NotStarted, Phase: phase}
	case *ProxyError:
		if _, unsent := e.Err.(*PasswordError); unsent {
			return Outcome{Kind: NotStarted, Phase: phase}
		}
	}
	switch phase {
	case PhaseOpen, PhasePTY:
		return Outcome{Kind: NotStarted, Phase: phase}
	}
	return Outcome{Kind: Unreachable, Phase: phase}
}

// phaseOf returns the phase in which an error arose.
func phaseOf(err error) Phase {
	switch e := err.(type) {
	case *UnknownHostError:
		return PhaseResolve
	case *HostKeyError:
		return PhaseHostKey
	case *PKeyFileError, *AuthenticationError:
		return PhaseAuth
	case *ProxyError:
		return PhaseProxy
	case *PasswordError:
		return e.Phase
	case *ConfigError:
		return PhaseConfig
	case *SessionError:
		return e.Phase
	case *ConnectionError:
		return e.Phase
	case *TimeoutError:
		return e.Phase
	}
	return PhaseConnect
}
