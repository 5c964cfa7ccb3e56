package fleetssh

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/cmdline"
	"fleetssh/internal/console"
	"fleetssh/internal/sentinel"
	"fleetssh/internal/spool"
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
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	begun := time.Now()
	if err := s.checkIdle(); err != nil {
		return nil, err
	}
	if err := s.waitSettled(ctx); err != nil {
		return nil, err
	}
	from, sent := "/dev/null", (*consoleInput)(nil)
	if line.Stdin != nil {
		var err error
		if sent, err = s.session.client.sendInput(ctx, s.exec, line.Stdin); err != nil {
			return nil, err
		}
		from = sent.path
	}
	l, text := s.nextLine(line.Text, from)
	if sent != nil {
		sent.removeAfter(l.done)
	}
	if err := s.session.write(ctx, text); err != nil {
		// The shell may have received part of the line and wait for the rest.
		s.session.close()
		return nil, err
	}
	l.mu.Lock()
	l.startDuration = time.Since(begun)
	l.mu.Unlock()
	return l.out, nil
}

// acquire waits for the turn to write to the shell.
func (s *Console) acquire(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return interrupted(ctx, nil, &s.Host, PhaseStdin)
	}
}

func (s *Console) release() { <-s.turn }

// checkIdle returns an error unless the shell waits for a line.
func (s *Console) checkIdle() error {
	if s.session.Finished() {
		return s.session.overError()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != nil && !s.line.Finished() {
		host, port := s.session.address()
		return &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: errors.New("another line runs on the shell")}
	}
	return nil
}

// waitSettled waits until no INT is under way to the shell. See [console.Shell.Settle].
func (s *Console) waitSettled(ctx context.Context) error {
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
		if err := s.session.write(ctx, "\n"); err != nil {
			return err
		}
		select {
		case <-settled:
			return nil
		case <-s.session.done:
			return s.session.overError()
		case <-ctx.Done():
			return interrupted(ctx, nil, &s.Host, PhaseStdin)
		case <-ticker.C:
		}
	}
}

// settleRetry is how long waitSettled waits for the answer to an empty line before it sends another one.
// An INT may have made the shell discard the first.
const settleRetry = 300 * time.Millisecond

// nextLine makes the next line the current one, and returns the text to send to the shell for it.
func (s *Console) nextLine(text, from string) (line *runningLine, send string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.next = s.next, s.newLine()
	s.line.out.Index, s.line.out.CommandLine, s.line.begun = s.Index, text, time.Now()
	s.started = make(chan struct{})
	s.number, send = s.shell.Line(text, from)
	return s.line, send
}

// runningLine is the [execution] of a line. It runs in the session of the shell.
type runningLine struct {
	noSession
	Channel
	console *Console
	out     *HostOutput
}

// newLine returns a line that has not begun.
func (s *Console) newLine() *runningLine {
	l := &runningLine{console: s}
	l.init(l, &s.Host, s.session.client.d.budget, streamOptions{})
	l.Stdin = closedInput{}
	l.out = newHostOutput(&l.Channel, "", s.out.connected)
	return l
}

// stream returns where one of the streams is kept.
func (l *runningLine) stream(which console.Stream) *spool.Stream {
	if which == console.Stderr {
		return l.Stderr.stream
	}
	return l.Stdout.stream
}

// end records how the line has ended. Only the first call counts.
func (l *runningLine) end(o Outcome, failure error) {
	l.Stdout.stream.CloseWrite(nil)
	l.Stderr.stream.CloseWrite(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.outcome.Kind != Running {
		return
	}
	l.exit = o
	if l.stopping != Running {
		o = Outcome{Kind: l.stopping, Stopped: o.Kind == Exited || o.Kind == Signaled || o.Stopped}
		failure = nil
	}
	l.outcome, l.failure = o, failure
	l.runDuration = time.Since(l.begun)
	close(l.done)
}

// signal sends a signal to the line if it still runs. It first waits until the shell has started
// the line: a signal before that would make the shell discard what it has read and run the rest.
//
// The limit of starting a command bounds it: the host may be busy.
func (l *runningLine) signal(ctx context.Context, sig ssh.Signal) error {
	s := l.console
	ctx, cancel := s.session.client.starting(ctx)
	defer cancel()
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	if sig != ssh.SIGKILL && started != nil {
		select {
		case <-started:
		case <-ctx.Done():
			return interrupted(ctx, nil, &s.Host, PhaseSignal)
		}
	}
	s.mu.Lock()
	runs := s.line == l && !l.Finished()
	if runs && sig == ssh.SIGINT {
		s.shell.Interrupting()
	}
	s.mu.Unlock()
	if !runs {
		return nil
	}
	return s.signal(ctx, sig, l.host.connectTimeout())
}

// signal sends a signal to the process group of the shell, or to the shell and all its descendants.
// It uses a signal request if the server is known to signal the group, and a second session if not.
// reply bounds the wait for the answer to a signal request.
func (s *Console) signal(ctx context.Context, sig ssh.Signal, reply time.Duration) error {
	ch := s.session
	var err error
	ask := func() bool {
		ctx, cancel := context.WithTimeout(ctx, reply)
		defer cancel()
		err = ch.signal(ctx, sig)
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
	killer, err := s.session.client.Execute(ctx, cmdline.KillGroup(s.exec, string(sig), group))
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

// stop sends INT to a line stopTries times. A host that does not accept one within lineReply counts
// as silent: stop then ends the shell.
const (
	stopTries = 4
	lineReply = 5 * time.Second
)

// stop ends the line. If INT does not end it, stop ends the shell.
func (l *runningLine) stop(ctx context.Context, why OutcomeKind) error {
	l.mu.Lock()
	running := l.outcome.Kind == Running
	if running && l.stopping == Running {
		l.stopping = why
	}
	l.mu.Unlock()
	if !running {
		return nil
	}
	// A process that the shell is just starting may miss the first INT.
	for range stopTries {
		reply, cancel := context.WithTimeout(ctx, lineReply)
		err := l.signal(reply, ssh.SIGINT)
		cancel()
		if err != nil {
			break
		}
		wait, cancel := context.WithTimeout(ctx, termGrace/stopTries)
		select {
		case <-l.done:
		case <-wait.Done():
		}
		cancel()
		if l.Finished() {
			return nil
		}
	}
	s := l.console
	s.mu.Lock()
	current := s.line == l
	s.mu.Unlock()
	if !current || l.Finished() {
		return nil
	}
	err := s.Stop(ctx)
	<-l.done // it ends with the shell
	return err
}

// consoleInput is the standard input of a line, in a temporary file on the host. The command that
// wrote the file removes it at the end of its own input: when the line or the connection ends.
type consoleInput struct {
	path   string
	client *Client
	ch     *Channel
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
	path, err := c.sendFile(ctx, ch, from, named.String())
	if err != nil {
		ch.Stdin.Close() // the host removes the file at the end of the input
		ch.Close()
		return nil, err
	}
	return &consoleInput{path, c, ch}, nil
}

// sendFile sends the bytes to a command and returns the path of the file that holds them. The host prints the
// path after prefix.
func (c *Client) sendFile(ctx context.Context, ch *Channel, from *io.SectionReader, prefix string) (string, error) {
	host, port := ch.address()
	sent := make(chan error, 1)
	spawned := c.conn.Go(func() {
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
		return "", interrupted(ctx, nil, c.host, PhaseStdin)
	}
	ctx, cancel := c.starting(ctx)
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
	if err := interrupted(ctx, nil, c.host, PhaseStdin); err != nil {
		return "", err
	}
	return "", &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: errors.New("the host could not keep the input in a temporary file")}
}

// removeAfter removes the file when the line has ended.
func (in *consoleInput) removeAfter(ended <-chan struct{}) {
	in.client.conn.Go(func() {
		<-ended
		ctx, cancel := context.WithTimeout(context.Background(), inputGrace)
		defer cancel()
		_ = in.ch.WaitFinished(ctx) // nothing more can be done about the file in any case
		in.ch.Close()
	})
}
