package fleetssh

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Shell is the login shell of the user on one host, without a terminal. It gets one command after
// another. Stdout and Stderr carry the output of all of them, without a mark where the output of
// one command ends and the next begins; [Console] tells them apart.
//
// Most shells run a command as soon as its line has arrived. fish reads all of its input first, and
// runs it at Close.
type Shell struct {
	Index int // of the host in ParallelClient.Hosts; 0 for a Client
	Host  HostConfig
	Err   error // the reason why it could not be started, or nil

	Stdout *Output
	Stderr *Output

	out *HostOutput
}

func newShell(out *HostOutput) *Shell {
	return &Shell{Index: out.Index, Host: out.Host, Err: out.Err, Stdout: out.Stdout, Stderr: out.Stderr, out: out}
}

// Finished reports whether the shell has ended, without waiting.
func (s *Shell) Finished() bool { return s.out.Finished() }

// WaitFinished ends the input of the shell and waits for its end: see [Channel.WaitFinished].
func (s *Shell) WaitFinished(ctx context.Context) error { return s.out.WaitFinished(ctx) }

// Outcome returns how the shell has ended: see [Channel.Outcome].
func (s *Shell) Outcome() Outcome { return s.out.Outcome() }

// Signal sends a signal to the shell: see [Channel.Signal].
func (s *Shell) Signal(ctx context.Context, sig ssh.Signal) error { return s.out.Signal(ctx, sig) }

// Stop ends the shell and its commands: see [Channel.Stop].
func (s *Shell) Stop(ctx context.Context) error { return s.out.Stop(ctx) }

// Timing returns how long each phase took: see [HostOutput.Timing].
func (s *Shell) Timing() Timing { return s.out.Timing() }

// OpenShell starts the login shell of the user and returns as soon as the host has accepted it.
// The caller must call Close.
//
// The error is as for [Client.OpenSession] and [Channel.Exec]; the shell is nil in that case.
func (c *Client) OpenShell(ctx context.Context) (*Shell, error) {
	out := c.startShell(ctx)
	if out.Err != nil {
		return nil, out.Err
	}
	return newShell(out), nil
}

// OpenShells starts a shell on every host and returns when each host has either accepted it or
// failed. The caller must call Close of each shell.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if every shell
// started, and otherwise a [*HostsError]; the Err of a shell that did not start says why. If it is
// a [*ConfigError], the slice is nil and no host was contacted.
func (p *ParallelClient) OpenShells(ctx context.Context) ([]*Shell, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	outs, err := p.startAll(ctx, slots, func(int) starter { return starter{start: (*Client).startShell} })
	shells := make([]*Shell, len(outs))
	for i, out := range outs {
		shells[i] = newShell(out)
	}
	return shells, err
}

// startShell starts the login shell. It always returns an output, whose Err says why the shell could
// not be started.
func (c *Client) startShell(ctx context.Context) *HostOutput {
	s, err := c.openSession(ctx, streamOptions{})
	if err == nil {
		err = s.start(ctx, PhaseShell, nil)
	}
	if err != nil {
		out := newFailed(0, c.host, "", err)
		out.connected = c.Timing()
		return out
	}
	return newHostOutput(&s.Channel, "", c.Timing())
}

// Run sends one or several command lines to the shell and returns when they are sent. The shell
// runs them after the lines that it got before. The last line may lack its line end.
//
// The error says why the shell did not start or how it has ended; it is a [*SessionError] if the
// shell has ended with exit code zero. If ctx ends first, because the shell does not read, the
// error is a [*TimeoutError]; the lines are sent as soon as the shell reads.
func (s *Shell) Run(ctx context.Context, lines string) error {
	if !strings.HasSuffix(lines, "\n") {
		lines += "\n"
	}
	if s.Err != nil {
		return s.Err
	}
	return s.out.Channel.execution.write(ctx, lines)
}

// Close ends the input of the shell, waits until it has run its lines, and closes the session. It
// returns the same errors as [Channel.WaitFinished]. If ctx ends first, Close does not wait any
// longer, and the shell may continue to run.
func (s *Shell) Close(ctx context.Context) error {
	defer s.out.Close()
	return s.out.WaitFinished(ctx)
}

// write sends text to the standard input of the command. It waits until the text is sent or ctx
// ends.
func (s *session) write(ctx context.Context, text string) error {
	sent := make(chan error, 1)
	if !s.client.conn.Go(func() {
		_, err := s.Stdin.Write([]byte(text))
		sent <- err
	}) {
		return s.overError()
	}
	select {
	case err := <-sent:
		if err != nil {
			return s.overError()
		}
		return nil
	case <-ctx.Done():
		return interrupted(ctx, nil, s.client.host, PhaseStdin)
	}
}

// overError returns the reason why the shell accepts no more input.
func (ch *Channel) overError() error {
	if ch.Finished() {
		if err := ch.result(); err != nil {
			return err
		}
	}
	host, port := ch.address()
	return &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: errors.New("the shell has ended")}
}
