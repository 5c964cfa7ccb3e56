package fleetssh

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/cmdline"
	"fleetssh/internal/sentinel"
)

// ConsoleLine is what a [Console] is given to do.
type ConsoleLine struct {
	// Text is a command line, or several, in the language of the shell. Here-documents
	// and compound commands may reach over its lines. The shell gets all of it at once,
	// and nothing is waited for: what an open quote, or an "if" without its "fi", begins
	// is a syntax error and does not run (the lines before it may); a here-document
	// without its end is, for most shells, one that ends with the text.
	Text string

	// Stdin is what the line reads. It goes to a temporary file on the host first,
	// which is removed when the line has ended, or the connection has. One may be
	// given to many hosts. Nil means that standard input is empty.
	Stdin *io.SectionReader
}

// Run starts a line and returns when it has been sent. The output is that of the line
// alone: how the line ended is how a command with its exit code would have, and
// WaitFinished waits for it. A signal reaches everything that the line has started and
// that is in the process group of the shell; INT is what Ctrl-C sends. Stop sends INT,
// and when that does not end the line, ends the shell.
//
// What the shell and jobs in its background write between two lines comes with the
// second.
//
// The error is a [*ConfigError] if the text holds a NUL byte and a [*SessionError] if
// another line runs; what kept the shell from starting, or how it has ended; or what
// kept the line from being sent. The output is nil then. If ctx ends while the line is on
// its way, the shell is given up.
func (s *Console) Run(ctx context.Context, line ConsoleLine) (*HostOutput, error) {
	if strings.IndexByte(line.Text, 0) >= 0 {
		return nil, &ConfigError{Index: -1, Field: "ConsoleLine.Text", Reason: "it holds a NUL byte"}
	}
	if s.Err != nil {
		return nil, s.Err
	}
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	begun := time.Now()
	if err := s.idle(); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	from, sent := "/dev/null", (*consoleInput)(nil)
	if line.Stdin != nil {
		var err error
		if sent, err = s.session.ch.client.sendInput(ctx, s.exec, line.Stdin); err != nil {
			return nil, err
		}
		from = sent.path
	}
	out, text := s.begin(line.Text, from)
	if sent != nil {
		sent.removeAfter(out)
	}
	if err := s.session.ch.write(ctx, text); err != nil {
		// The shell may have a part of the line, and wait for the rest.
		s.session.ch.Close()
		return nil, err
	}
	out.ch.mu.Lock()
	out.ch.start = time.Since(begun)
	out.ch.mu.Unlock()
	return out, nil
}

// take waits for the turn to send something to the shell.
func (s *Console) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return interrupted(ctx, nil, &s.Host, PhaseStdin)
	}
}

func (s *Console) release() { <-s.turn }

// idle returns an error unless the shell waits for a line.
func (s *Console) idle() error {
	if s.session.Finished() {
		return s.session.ch.overError()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != nil && !s.line.Finished() {
		host, port := s.session.ch.address()
		return &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: errors.New("another line runs on the shell")}
	}
	return nil
}

// settle makes sure that no INT is on the way to the shell any more: see
// [console.Shell.Settle].
func (s *Console) settle(ctx context.Context) error {
	s.mu.Lock()
	if !s.shell.Settle() {
		s.mu.Unlock()
		return nil
	}
	settled := make(chan struct{})
	s.settled = settled
	s.mu.Unlock()
	ticker := time.NewTicker(settleRetry)
	defer ticker.Stop()
	for {
		if err := s.session.ch.write(ctx, "\n"); err != nil {
			return err
		}
		select {
		case <-settled:
			return nil
		case <-s.session.ch.done:
			return s.session.ch.overError()
		case <-ctx.Done():
			return interrupted(ctx, nil, &s.Host, PhaseStdin)
		case <-ticker.C:
		}
	}
}

// settleRetry is how long the shell may take to answer an empty line: with an INT, it
// may have thrown it away.
const settleRetry = 300 * time.Millisecond

// begin makes the next line the one that runs, and returns what the shell is to be
// sent for it.
func (s *Console) begin(text, from string) (out *HostOutput, tell string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.next = s.next, s.newLine()
	s.line.Index, s.line.CommandLine, s.line.ch.begun = s.Index, text, time.Now()
	s.begun = make(chan struct{})
	s.number, tell = s.shell.Line(text, from)
	return s.line, tell
}

// signalLine sends a signal to the line, if it still runs. It waits until the shell has
// begun with the line: it would throw away what it has read of it, and run the rest.
func (s *Console) signalLine(ctx context.Context, line *Channel, sig ssh.Signal) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.release()
	s.mu.Lock()
	begun := s.begun
	s.mu.Unlock()
	if sig != ssh.SIGKILL && begun != nil {
		timer := time.NewTimer(signalReply)
		defer timer.Stop()
		select {
		case <-begun:
		case <-timer.C:
			host, port := line.address()
			return &TimeoutError{Host: host, Port: port, Phase: PhaseSignal, After: signalReply}
		case <-ctx.Done():
			return interrupted(ctx, nil, &s.Host, PhaseSignal)
		}
	}
	s.mu.Lock()
	runs := s.line != nil && s.line.ch == line && !line.Finished()
	if runs && sig == ssh.SIGINT {
		s.shell.Interrupting()
	}
	s.mu.Unlock()
	if !runs {
		return nil
	}
	return s.signal(ctx, sig)
}

// signal sends a signal to the process group of the shell, or to the shell and everything below
// it: by a request where the server is known to do that, or from another session.
func (s *Console) signal(ctx context.Context, sig ssh.Signal) error {
	ch := s.session.ch
	var err error
	ask := func() bool {
		reply, cancel := context.WithTimeout(ctx, signalReply)
		defer cancel()
		err = ch.Signal(reply, sig)
		_, refused := errors.AsType[*SessionError](err)
		return !refused
	}
	known, process := ch.client.signalsGroups(ctx), s.process()
	if known && ask() {
		return err
	}
	switch {
	case process <= 1: // it is not the number of any shell
	case known && s.killGroup(ctx, sig, process):
		return nil
	case !known && ch.fromOutside(ctx, cmdline.Signals{Names: string(sig), Top: process}):
		return nil
	}
	if !known {
		ask() // it reaches the shell, at least
	}
	return err
}

// killGroup sends a signal to a process group from another session.
func (s *Console) killGroup(ctx context.Context, sig ssh.Signal, group int) bool {
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	killer, err := s.session.ch.client.Execute(ctx, cmdline.KillGroup(s.exec, string(sig), group))
	if err != nil {
		return false
	}
	defer killer.Close()
	return killer.WaitFinished(ctx) == nil
}

// process returns the number of the shell's process; 0 or 1 is that of none.
func (s *Console) process() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shell.Process()
}

// stopTries is how often INT is sent to a line that is to be stopped.
const stopTries = 4

// stopLine ends the line, and the shell if need be.
func (s *Console) stopLine(ctx context.Context, line *Channel, why OutcomeKind) error {
	line.mu.Lock()
	running := line.outcome.Kind == Running
	if running && line.stopping == Running {
		line.stopping = why
	}
	line.mu.Unlock()
	if !running {
		return nil
	}
	// A process that is just being made may miss the first.
	for range stopTries {
		if s.signalLine(ctx, line, ssh.SIGINT) != nil {
			break
		}
		if line.waitEnd(ctx, termGrace/stopTries) {
			return nil
		}
	}
	s.mu.Lock()
	current := s.line != nil && s.line.ch == line
	s.mu.Unlock()
	if !current || line.waitEnd(ctx, 0) {
		return nil
	}
	err := s.Stop(ctx)
	<-line.done // it ends with the shell
	return err
}

// consoleInput is the standard input of a line, in a file on the host. The command
// that has written it waits, and removes it when its own input ends: with the line, or
// with the connection.
type consoleInput struct {
	path string
	ch   *Channel
}

// inputGrace is how long removing a file may take.
const inputGrace = 5 * time.Second

// sendInput sends the input. It goes through a session of its own, since nothing but
// lines may be on the way to the shell: it would run the rest of an input that the
// line does not read.
func (c *Client) sendInput(ctx context.Context, exec string, from *io.SectionReader) (*consoleInput, error) {
	named := sentinel.New() // a login shell may greet before it runs the command
	ch, err := c.Execute(ctx, cmdline.KeepInput(exec, from.Size(), named))
	if err != nil {
		return nil, err
	}
	path, err := ch.sendFile(ctx, from, named.String())
	if err != nil {
		ch.input.Close() // the end of the input is what removes the file
		ch.Close()
		return nil, err
	}
	return &consoleInput{path, ch}, nil
}

// sendFile sends the bytes and returns the name of the file they are in, which the host
// prints after the prefix.
func (ch *Channel) sendFile(ctx context.Context, from *io.SectionReader, prefix string) (string, error) {
	host, port := ch.address()
	sent := make(chan error, 1)
	spawned := ch.client.conn.Go(func() {
		n, err := io.Copy(ch.Stdin, io.NewSectionReader(from, 0, from.Size()))
		if err == nil && n < from.Size() {
			err = io.ErrUnexpectedEOF // the host waits for all of it
		}
		sent <- err
	})
	if !spawned {
		return "", ch.overError()
	}
	select {
	case err := <-sent:
		if err != nil && !errors.Is(err, io.ErrClosedPipe) { // the host's refusal is told below
			return "", &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: err}
		}
	case <-ctx.Done():
		return "", interrupted(ctx, nil, ch.client.host, PhaseStdin)
	}
	ctx, cancel := ch.client.starting(ctx)
	defer cancel()
	const (
		longest = 4096 // PATH_MAX of most systems
		most    = 1000 // lines of a greeting
	)
	n := 0
	for line, err := range ch.Stdout.Lines(ctx) {
		if _, path, found := strings.Cut(line, prefix); found {
			if err == nil && len(path) <= longest && strings.HasPrefix(path, "/") && !strings.Contains(path, "\x00") {
				return path, nil
			}
			break
		}
		if n++; n == most {
			break
		}
	}
	if err := interrupted(ctx, nil, ch.client.host, PhaseStdin); err != nil {
		return "", err
	}
	return "", &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: errors.New("the host could not keep the input in a temporary file")}
}

// removeAfter removes the file when the line has ended.
func (in *consoleInput) removeAfter(line *HostOutput) {
	in.ch.client.conn.Go(func() {
		<-line.ch.done
		ctx, cancel := context.WithTimeout(context.Background(), inputGrace)
		defer cancel()
		_ = in.ch.WaitFinished(ctx) // the file is gone, or the host does not answer
		in.ch.Close()
	})
}
