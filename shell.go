package fleetssh

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Shell is the login shell of the user on one host, without a terminal, that is
// given commands one after another. What they write is read from Stdout and Stderr,
// as that of any command: it does not say where the output of one ends and that of
// the next begins. [Console] does.
//
// Most shells run a command as soon as its line has come; fish reads all of its
// input first, and runs it at Close.
type Shell struct {
	Index int // of the host in ParallelClient.Hosts; 0 for a Client
	Host  HostConfig
	Err   error // why it could not be started

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

// Outcome says how the shell has ended: see [Channel.Outcome].
func (s *Shell) Outcome() Outcome { return s.out.Outcome() }

// Signal sends a signal to the shell: see [Channel.Signal].
func (s *Shell) Signal(ctx context.Context, sig ssh.Signal) error { return s.out.Signal(ctx, sig) }

// Stop ends the shell and what it runs: see [Channel.Stop].
func (s *Shell) Stop(ctx context.Context) error { return s.out.Stop(ctx) }

// Timing returns how long each phase took: see [HostOutput.Timing].
func (s *Shell) Timing() Timing { return s.out.Timing() }

// OpenShell starts the login shell of the user and returns as soon as the host has
// accepted that. Close must be called in the end.
//
// The error is as for [Client.OpenSession] and [Channel.Exec], and then the shell is nil.
func (c *Client) OpenShell(ctx context.Context) (*Shell, error) {
	out := c.startShell(ctx)
	if out.Err != nil {
		return nil, out.Err
	}
	return newShell(out), nil
}

// OpenShells starts a shell on every host and returns when each host has either
// accepted it or failed. Close must be called on each in the end.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if
// every host started and a [*HostsError] if some did not, each of which says why in
// its Err. If it is a [*ConfigError], the slice is nil and no host was contacted.
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

// startShell starts the login shell. It always returns an output; its Err says why
// it could not be started.
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

// Run sends one command line, or several, to the shell, and returns when they are
// sent: the shell runs them when it has done what it was sent before. The end of the
// last line may be left out.
//
// The error is what kept the shell from starting, or how it ended, if it has; a
// [*SessionError] if it has ended well. If ctx ends first, because the shell reads
// nothing, the error is a [*TimeoutError], and the lines are sent when it does.
func (s *Shell) Run(ctx context.Context, lines string) error {
	if !strings.HasSuffix(lines, "\n") {
		lines += "\n"
	}
	if s.Err != nil {
		return s.Err
	}
	return s.out.Channel.execution.write(ctx, lines)
}

// Close ends the input of the shell, waits for it to do what it was sent, and closes
// the channel. It returns as [Channel.WaitFinished] does; if ctx ends first, the shell
// is not waited for any longer, and may run on.
func (s *Shell) Close(ctx context.Context) error {
	defer s.out.Close()
	return s.out.WaitFinished(ctx)
}

// write sends text to the command's standard input, and waits for that as long as
// ctx lasts.
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

// overError returns why nothing can be sent any more.
func (ch *Channel) overError() error {
	if ch.Finished() {
		if err := ch.result(); err != nil {
			return err
		}
	}
	host, port := ch.address()
	return &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: errors.New("the shell has ended")}
}
