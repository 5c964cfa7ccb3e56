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

// ConsoleLine is a command line for a [Console].
type ConsoleLine struct {
	// Text is one or more command lines in the language of the shell. Here-documents and compound
	// commands may span several lines. The shell gets the whole text at once and does not wait for
	// more. An open quote or an "if" without its "fi" is a syntax error and does not run; the lines
	// before it may run. For most shells a here-document without a delimiter ends with the text.
	Text string

	// Stdin is the standard input of the line. It is first copied to a temporary file on the host,
	// which is removed when the line or the connection has ended. Several hosts may share one
	// reader. Nil means an empty standard input.
	Stdin *io.SectionReader
}

// Run starts a line and returns when it has been sent. The HostOutput belongs to this line alone:
// its outcome is the same as for a command with that exit code, and WaitFinished waits for the end
// of the line. Signal reaches all processes that the line has started in the process group of the
// shell; Ctrl-C corresponds to INT. Stop sends INT; if the line does not end, Stop ends the shell.
//
// Output of the shell and its background jobs between two lines belongs to the second line.
//
// The error is a [*ConfigError] if the text holds a NUL byte, and a [*SessionError] if another line
// runs. Otherwise it says why the shell did not start, how it has ended, or why the line could not
// be sent. The output is nil in all these cases. If ctx ends while the line is being sent, Run
// closes the shell.
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
		if sent, err = s.session.Channel.client.sendInput(ctx, s.exec, line.Stdin); err != nil {
			return nil, err
		}
		from = sent.path
	}
	out, text := s.begin(line.Text, from)
	if sent != nil {
		sent.removeAfter(out)
	}
	if err := s.session.Channel.write(ctx, text); err != nil {
		// The shell may have received part of the line and wait for the rest.
		s.session.Channel.Close()
		return nil, err
	}
	out.Channel.mu.Lock()
	out.Channel.start = time.Since(begun)
	out.Channel.mu.Unlock()
	return out, nil
}

// take waits for the turn to write to the shell.
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
		return s.session.Channel.overError()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != nil && !s.line.Finished() {
		host, port := s.session.Channel.address()
		return &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: errors.New("another line runs on the shell")}
	}
	return nil
}

// settle waits until no INT is under way to the shell. See [console.Shell.Settle].
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
		if err := s.session.Channel.write(ctx, "\n"); err != nil {
			return err
		}
		select {
		case <-settled:
			return nil
		case <-s.session.Channel.done:
			return s.session.Channel.overError()
		case <-ctx.Done():
			return interrupted(ctx, nil, &s.Host, PhaseStdin)
		case <-ticker.C:
		}
	}
}

// settleRetry is how long settle waits for the answer to an empty line before it sends another one.
// An INT may have made the shell discard the first.
const settleRetry = 300 * time.Millisecond

// begin makes the next line the current one, and returns the text to send to the shell for it.
func (s *Console) begin(text, from string) (out *HostOutput, tell string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.next = s.next, s.newLine()
	s.line.Index, s.line.CommandLine, s.line.Channel.begun = s.Index, text, time.Now()
	s.begun = make(chan struct{})
	s.number, tell = s.shell.Line(text, from)
	return s.line, tell
}

// signalLine sends a signal to the line if it still runs. It first waits until the shell has begun
// the line: a signal before that would make the shell discard what it has read and run the rest.
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
	runs := s.line != nil && s.line.Channel == line && !line.Finished()
	if runs && sig == ssh.SIGINT {
		s.shell.Interrupting()
	}
	s.mu.Unlock()
	if !runs {
		return nil
	}
	return s.signal(ctx, sig)
}

// signal sends a signal to the process group of the shell, or to the shell and all its descendants.
// It uses a signal request if the server is known to signal the group, and a second session if not.
func (s *Console) signal(ctx context.Context, sig ssh.Signal) error {
	ch := s.session.Channel
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
	case process <= 1: // the process ID of the shell is unknown
	case known && s.killGroup(ctx, sig, process):
		return nil
	case !known && ch.fromOutside(ctx, cmdline.Signals{Names: string(sig), Top: process}):
		return nil
	}
	if !known {
		ask() // the signal reaches at least the shell
	}
	return err
}

// killGroup sends a signal to a process group from a second session.
func (s *Console) killGroup(ctx context.Context, sig ssh.Signal, group int) bool {
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	killer, err := s.session.Channel.client.Execute(ctx, cmdline.KillGroup(s.exec, string(sig), group))
	if err != nil {
		return false
	}
	defer killer.Close()
	return killer.WaitFinished(ctx) == nil
}

// process returns the process ID of the shell; 0 or 1 means that it is unknown.
func (s *Console) process() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shell.Process()
}

// stopTries is how often Stop sends INT to a line.
const stopTries = 4

// stopLine ends the line. If INT does not end it, stopLine ends the shell.
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
	// A process that the shell is just starting may miss the first INT.
	for range stopTries {
		if s.signalLine(ctx, line, ssh.SIGINT) != nil {
			break
		}
		if line.waitEnd(ctx, termGrace/stopTries) {
			return nil
		}
	}
	s.mu.Lock()
	current := s.line != nil && s.line.Channel == line
	s.mu.Unlock()
	if !current || line.waitEnd(ctx, 0) {
		return nil
	}
	err := s.Stop(ctx)
	<-line.done // it ends with the shell
	return err
}

// consoleInput is the standard input of a line, in a temporary file on the host. The command that
// wrote the file removes it at the end of its own input: when the line or the connection ends.
type consoleInput struct {
	path string
	ch   *Channel
}

// inputGrace is how long the host may take to remove the file.
const inputGrace = 5 * time.Second

// sendInput sends the input to a temporary file. It uses a session of its own, because the shell
// would run any input that the line does not read.
func (c *Client) sendInput(ctx context.Context, exec string, from *io.SectionReader) (*consoleInput, error) {
	named := sentinel.New() // a login shell may print a greeting before it runs the command
	ch, err := c.Execute(ctx, cmdline.KeepInput(exec, from.Size(), named))
	if err != nil {
		return nil, err
	}
	path, err := ch.sendFile(ctx, from, named.String())
	if err != nil {
		ch.input.Close() // the host removes the file at the end of the input
		ch.Close()
		return nil, err
	}
	return &consoleInput{path, ch}, nil
}

// sendFile sends the bytes and returns the path of the file that holds them. The host prints the
// path after prefix.
func (ch *Channel) sendFile(ctx context.Context, from *io.SectionReader, prefix string) (string, error) {
	host, port := ch.address()
	sent := make(chan error, 1)
	spawned := ch.client.conn.Go(func() {
		n, err := io.Copy(ch.Stdin, io.NewSectionReader(from, 0, from.Size()))
		if err == nil && n < from.Size() {
			err = io.ErrUnexpectedEOF // the host waits for from.Size() bytes
		}
		sent <- err
	})
	if !spawned {
		return "", ch.overError()
	}
	select {
	case err := <-sent:
		if err != nil && !errors.Is(err, io.ErrClosedPipe) { // a refusal by the host is reported below
			return "", &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: err}
		}
	case <-ctx.Done():
		return "", interrupted(ctx, nil, ch.client.host, PhaseStdin)
	}
	ctx, cancel := ch.client.starting(ctx)
	defer cancel()
	const (
		longest = 4096 // PATH_MAX of most systems
		most    = 1000 // lines of a greeting before the path
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
		<-line.Channel.done
		ctx, cancel := context.WithTimeout(context.Background(), inputGrace)
		defer cancel()
		_ = in.ch.WaitFinished(ctx) // nothing more can be done about the file in any case
		in.ch.Close()
	})
}
