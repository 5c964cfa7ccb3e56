package fleetssh

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/cmdline"
	"fleetssh/internal/console"
	"fleetssh/internal/sanitize"
)

// Console is a shell on one host that runs one line after another. Each line has its own output and
// exit code. Changes that a line makes, such as to the directory or a variable, last for the next
// lines.
//
// The shell is the login shell of the user if that is bash or zsh, and otherwise sh. It is
// interactive and has no terminal: a syntax error or an interrupt does not end it. It reads no
// startup files of the user: the environment is the same as for [Client.RunCommand].
//
// Many goroutines may use a console at once; it runs one line at a time.
type Console struct {
	Index int // of the host in ParallelClient.Hosts; 0 for a Client
	Host  HostConfig
	Err   error // the reason why it could not be opened, or nil

	out     *HostOutput // the shell
	session *session    // the session of the shell; nil if none could be opened
	exec    string      // "exec ", or empty if the login shell has no such command
	ready   chan struct{}
	turn    chan struct{} // holds a token while a line is sent or signalled

	mu      sync.Mutex     // protects what follows
	shell   *console.Shell // interprets the output of the shell
	line    *runningLine   // the line that runs or ran last; nil: none yet
	next    *runningLine   // the line after it, which gets the output between them
	number  uint64         // of line
	started chan struct{}  // closed when the shell has started line, or line has ended
	settled chan struct{}  // closed when no INT is under way any more; nil: no call waits for it
	startup tail           // the output of the shell before it was ready
}

// OpenConsole starts a shell and returns when it is ready for the first line, within
// [HostConfig.ConnectTimeout]. The caller must call Close.
//
// The error is as for [Client.OpenSession] and [Channel.Exec], and a [*SessionError] if the shell
// ends before it is ready. The console is nil in these cases.
func (c *Client) OpenConsole(ctx context.Context) (*Console, error) {
	s := c.openConsole(ctx)
	if s.Err != nil {
		return nil, s.Err
	}
	return s, nil
}

func (c *Client) openConsole(ctx context.Context) *Console {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	s := c.startConsole(ctx, "exec ")
	if s.Err != nil && s.Outcome().Kind == Exited && ctx.Err() == nil {
		// A restricted shell such as rbash has no exec. Without exec, a login shell such as csh
		// remains the parent of the console's shell and leads its process group.
		if plain := c.startConsole(ctx, ""); plain.Err == nil {
			return plain
		}
	}
	return s
}

// startConsole starts a shell. exec is the prefix of the command line for the login shell.
func (c *Client) startConsole(ctx context.Context, exec string) *Console {
	ch, err := c.openSession(ctx, streamOptions{})
	if err != nil {
		return failedConsole(newFailed(0, c.host, "", err))
	}
	s := &Console{
		Host: *c.host, out: newHostOutput(&ch.Channel, cmdline.ConsoleShell(exec), c.Timing()),
		session: ch, exec: exec, ready: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	s.shell = console.New(s.send, s.handle)
	s.next = s.newLine()
	ch.console = s
	if err = ch.start(ctx, PhaseExec, execPayload(cmdline.ConsoleShell(exec))); err == nil {
		// A failed write is ignored: waitReady fails too, at once or when ctx ends.
		_ = ch.write(ctx, s.shell.SetUp())
		err = s.waitReady(ctx)
	}
	if err != nil {
		ch.Close()
		s.Err, s.out.Err = err, err
	}
	return s
}

// failedConsole returns the console of a host on which no shell could be started.
func failedConsole(out *HostOutput) *Console {
	return &Console{Index: out.Index, Host: out.Host, Err: out.Err, out: out}
}

// waitReady waits until the shell is ready.
func (s *Console) waitReady(ctx context.Context) error {
	ch := s.session
	select {
	case <-s.ready:
		return nil
	case <-ch.done:
	case <-ctx.Done():
		return ch.client.sessionError(ctx, PhaseShell, ctx.Err())
	}
	if ch.Outcome().Kind == Lost {
		return ch.result()
	}
	why := "the shell ended"
	s.mu.Lock()
	if last := strings.TrimSpace(string(s.startup.kept)); last != "" {
		why += ": " + sanitize.Line(last[strings.LastIndexByte(last, '\n')+1:])
	}
	s.mu.Unlock()
	host, port := ch.address()
	return &SessionError{Host: host, Port: port, Phase: PhaseShell, Err: errors.New(why)}
}

// copy passes one stream of the shell to its interpreter until the stream ends.
func (s *Console) copy(to *Output, from io.Reader) {
	stream := console.Stdout
	if to == s.session.Stderr {
		stream = console.Stderr
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		s.shell.Feed(stream, buf[:n])
		if err != nil {
			s.shell.Close(stream)
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// handle handles an event of the interpreter. The caller holds s.mu, as for the next four methods.
func (s *Console) handle(e console.Event) {
	switch e.Kind {
	case console.Output:
		s.write(e)
	case console.Ready:
		close(s.ready)
	case console.Started:
		s.recordStart()
	case console.StreamEnded:
		s.line.stream(e.Stream).CloseWrite(nil)
	case console.Ended:
		s.finish(Outcome{Kind: Exited, ExitCode: e.Status}, nil)
	case console.Settled:
		close(s.settled)
		s.settled = nil
	}
}

// write stores output with the line that it belongs to.
func (s *Console) write(e console.Event) {
	switch e.Line {
	case 0:
		if _, err := s.startup.Write(e.Data); err != nil {
			panic(err) // a tail accepts everything
		}
	case s.number:
		s.line.stream(e.Stream).Write(e.Data)
	default:
		s.next.stream(e.Stream).Write(e.Data)
	}
}

// recordStart releases the signals that wait for the start of the line.
func (s *Console) recordStart() {
	if !isClosed(s.started) {
		close(s.started)
	}
}

// send sends text to the shell on a goroutine of its own, which ends with the session.
func (s *Console) send(text string) {
	ch := s.session
	ch.client.conn.Go(func() { _, _ = ch.Stdin.Write([]byte(text)) })
}

// finish records how the current line has ended.
func (s *Console) finish(o Outcome, failure error) {
	s.recordStart()
	s.line.end(o, failure)
}

// shellEnded ends the current line after the shell has ended.
func (s *Console) shellEnded() {
	shell := s.session
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.stream(console.Stdout).Drop()
	s.next.stream(console.Stderr).Drop()
	s.shell.Lost()
	if s.line != nil && !s.line.Finished() {
		shell.mu.Lock()
		outcome, failure := shell.outcome, shell.failure
		shell.mu.Unlock()
		s.finish(outcome, failure)
	}
}

// Finished reports whether the shell has ended or was never started.
func (s *Console) Finished() bool { return s.out.Finished() }

// Outcome returns how the shell ended. Its Kind is Running until then.
func (s *Console) Outcome() Outcome { return s.out.Outcome() }

// Close ends the input of the shell, waits until the current line and the shell have ended, and
// closes the session. The error is nil if the shell has ended, whatever its exit code. Otherwise it
// says why the shell did not start; it is a [*ConnectionError] if the connection was lost, and a
// [*TimeoutError] if ctx ends first: the line may continue to run in that case.
func (s *Console) Close(ctx context.Context) error {
	defer s.out.Close()
	err := s.out.WaitFinished(ctx)
	_, exited := errors.AsType[*ExitError](err)
	if o := s.Outcome(); exited || o.Kind == Cancelled && o.Stopped {
		return nil
	}
	return err
}

// Stop ends the shell and the current line as [Channel.Stop] does, but it sends KILL at once: an
// interactive shell ignores TERM.
func (s *Console) Stop(ctx context.Context) error {
	if s.Err != nil || s.Finished() {
		return s.out.Close()
	}
	ch := s.session
	if ch.hold(Cancelled) == heldNow {
		switch {
		case ch.client.signalsGroups(ctx) && ch.heeds(ctx, s.signal(ctx, ssh.SIGKILL, signalReply)):
			ch.confirm()
		case ch.fromOutside(ctx, cmdline.Signals{Names: "KILL", Patience: int(killGrace / (100 * time.Millisecond)), Top: s.process()}):
			ch.confirm()
		case !ch.silent.Load():
			_ = s.signal(ctx, ssh.SIGKILL, signalReply) // the outcome says that the end is not confirmed
		}
		ch.endHeld(ctx)
	}
	select {
	case <-ch.done:
	case <-ctx.Done():
		ch.end(Outcome{Kind: Lost}, nil)
	}
	if o := ch.Outcome(); o.Kind == Cancelled && !o.Stopped {
		host, port := ch.address()
		return &SessionError{Host: host, Port: port, Phase: PhaseSignal, Err: errors.New("the shell may still run: the host did not say that it has ended")}
	}
	return nil
}

// OpenConsoles opens a console on every host and returns when each console is ready or has failed.
// The caller must call Close of each.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if all consoles
// are ready, and otherwise a [*HostsError]; the Err of a console that is not ready says why. If it
// is a [*ConfigError], the slice is nil and no host was contacted.
func (p *ParallelClient) OpenConsoles(ctx context.Context) ([]*Console, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	consoles := make([]*Console, len(slots))
	outs, err := p.startAll(ctx, slots, func(i int) starter { return consoleStarter(&consoles[i]) })
	for i, out := range outs {
		consoles[i] = consoleOf(out, consoles[i])
	}
	return consoles, err
}

// consoleStarter returns a starter that opens a console and stores it in s.
func consoleStarter(s **Console) starter {
	return starter{start: func(c *Client, ctx context.Context) *HostOutput {
		*s = c.openConsole(ctx)
		return (*s).out
	}}
}

// consoleOf returns the console to which out belongs. s is the console that was opened last.
func consoleOf(out *HostOutput, s *Console) *Console {
	if s == nil || s.out != out { // connecting failed, perhaps before a second attempt
		s = failedConsole(out)
	}
	s.Index = out.Index
	return s
}

// StreamLines runs a line on all consoles at the same time and yields events as
// [ParallelClient.Stream] does. The Index of an event is the index into consoles. StreamLines calls
// line for the line of console number i, on many goroutines at once.
//
// Cancelling ctx or leaving the loop early stops the lines: see [Console.Run]. All lines and all
// goroutines of StreamLines have ended when the loop ends. The sequence can be used once.
func StreamLines(ctx context.Context, consoles []*Console, line func(i int) ConsoleLine) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		s := &eventStream{run: new(run), events: make(chan eventBlock, eventTurns), turns: make(chan struct{}, eventTurns), left: make(chan struct{})}
		s.loop(ctx, yield, func(ctx context.Context) {
			var wg sync.WaitGroup
			for i, console := range consoles {
				wg.Go(func() { s.line(ctx, i, console, line) })
			}
			wg.Wait()
		})
	}
}

// line runs a line on one console.
func (s *eventStream) line(ctx context.Context, i int, console *Console, line func(i int) ConsoleLine) {
	do := line(i)
	out, err := console.Run(ctx, do)
	if err == nil {
		s.watch(ctx, i, out)
	} else {
		out = newFailed(console.Index, &console.Host, do.Text, err)
		out.connected = console.out.connected
	}
	s.send(eventBlock{Event: Event{Kind: Finished, Index: i, Output: out}})
}
