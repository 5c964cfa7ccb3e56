package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/cmdline"
	hostmark "fleetssh/internal/mark"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/spool"
)

// Console is a shell on one host that runs one line after another, and says where the
// output of each ends and with which exit code. What a line changes, such as the
// directory or a variable, is there for the next.
//
// The shell is the login shell of the user if that is bash or zsh, and otherwise sh.
// It is an interactive one without a terminal: a line that is wrong, or that is
// interrupted, does not end it. No file of the user's is read first: the environment
// is that of a command run by [Client.RunCommand].
//
// A console may be used by many goroutines at once; it runs one line at a time.
type Console struct {
	Host HostConfig
	Err  error // why it could not be opened

	session *HostOutput   // the shell
	exec    string        // "exec ", or empty where the login shell does not know it
	token   hostmark.Mark // see marks
	ready   chan struct{}
	turn    chan struct{} // holds a token while a line is sent or signalled

	mu      sync.Mutex     // protects what follows
	marks   [2]marks       // in standard output and standard error
	into    [2]*HostOutput // the line that a stream belongs to; nil: none yet
	line    *HostOutput    // the line that runs or ran last; nil: none yet
	next    *HostOutput    // the line behind it, which has what comes between them
	number  uint64         // of line
	last    int            // exit code of the line before
	process int            // of the shell
	begun   chan struct{}  // closed when the shell has begun with line, or it has ended
	caught  bool           // an INT was sent since the last settle
	behind  uint64         // the last line that the shell has said to be behind it
	asked   bool           // to say the end of a line that was broken off
	settled chan struct{}  // closed when settle is done; nil: nobody settles
	said    tail           // what it wrote before it was ready
}

// The two streams of a shell.
const (
	stdoutStream = iota
	stderrStream
)

// OpenConsole starts a shell and returns when it is ready for the first line. It
// takes [HostConfig.ConnectTimeout] at most. Close must be called in the end.
//
// The error is as for [Client.OpenSession] and [Channel.Exec], a [*SessionError] if
// the shell ends instead. It is also the Err of the console, which is never nil.
func (c *Client) OpenConsole(ctx context.Context) (*Console, error) {
	s := c.openConsole(ctx)
	return s, s.Err
}

func (c *Client) openConsole(ctx context.Context) *Console {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	s := c.startConsole(ctx, "exec ")
	if s.Err != nil && s.Outcome().Kind == Exited && ctx.Err() == nil {
		// A restricted shell such as rbash knows no exec. Without it, a shell such as
		// that of csh stays in front of ours, and leads its process group.
		if plain := c.startConsole(ctx, ""); plain.Err == nil {
			return plain
		}
	}
	return s
}

// startConsole starts a shell; exec stands before the lines for the login shell.
func (c *Client) startConsole(ctx context.Context, exec string) *Console {
	ch, err := c.openSession(ctx, streamOptions{})
	if err != nil {
		return failedConsole(newFailed(*c.host, "", err))
	}
	token := hostmark.New()
	s := &Console{
		Host: *c.host, session: &HostOutput{Channel: ch, Host: *c.host, CommandLine: cmdline.ConsoleShell(exec), connected: c.login.Timing},
		exec: exec, token: token, ready: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	for i := range s.marks {
		s.marks[i].token = []byte(token.String())
	}
	s.next = s.newLine()
	ch.console = s
	if err = ch.begin(ctx, "exec", execPayload(cmdline.ConsoleShell(exec)), nil); err == nil {
		// What cannot be written has ended, or says so when its time is over.
		_ = ch.write(ctx, s.setUp())
		err = s.waitReady(ctx)
	}
	if err != nil {
		ch.Close()
		s.Err, s.session.Err = err, err
	}
	return s
}

// failedConsole is the console of a host that has none.
func failedConsole(out *HostOutput) *Console {
	return &Console{Host: out.Host, Err: out.Err, session: out}
}

// setUp returns what the shell is told first. The prompt is in two parts that come
// together in the mark alone, so that no command that lists variables shows one. zsh
// must not take the percent sign of the second for an escape. The descriptors 8 and 9
// are what the shell comes back to when a line has redirected it by exec. A shell that
// finds an error gives up the line it has read, so each has its own.
func (s *Console) setUp() string {
	return strings.Join([]string{
		`unset TMOUT MAIL MAILPATH MAILCHECK HISTFILE 2>/dev/null`,
		`[ -n "$BASH_VERSION" ] && set +o emacs +o vi +o history +H`,
		`[ -n "$ZSH_VERSION" ] && setopt promptsubst interactivecomments && unsetopt promptpercent promptsp promptcr banghist monitor`,
		`exec 8>&1 9>&2`,
		`fleetssh_a=` + s.token.Left + ` fleetssh_b=` + s.token.Right + ` fleetssh_n=0 fleetssh_m=0 fleetssh_s=0 fleetssh_t= fleetssh_u= fleetssh_x=`,
		`PS2= PROMPT_COMMAND= PS1='$fleetssh_a$fleetssh_b<$fleetssh_n:$fleetssh_m:$?>'`,
		`readonly PS1 PS2 PROMPT_COMMAND`,
		sayEnd(0, "$$"),
	}, "\n") + "\n"
}

// sayEnd returns what makes the shell say the end of a line on both streams.
func sayEnd(number uint64, status string) string {
	say := fmt.Sprintf(`printf '%%s%%s=%d:%%s>' "$fleetssh_a" "$fleetssh_b" "%s"`, number, status)
	return say + " >&8; " + say + " >&9"
}

// sayBegin returns what makes the shell say that it begins with a line.
func sayBegin(number uint64) string {
	return fmt.Sprintf(`printf '%%s%%s(%d>' "$fleetssh_a" "$fleetssh_b" >&9`, number)
}

// endLine returns what ends a line of which the shell finds the exit code in status.
//
// Between two lines the shell traces nothing (set -x, set -v): what it would show is
// ours. fleetssh_t is what turns the tracing on again, for the next line to begin with;
// it leaves $? as it is. It empties fleetssh_u, which a line with a syntax error does
// not. The options are compared, since not every shell can test for one.
func endLine(number uint64, status string) string {
	return fmt.Sprintf(`{ fleetssh_s=%s; fleetssh_o=$-; set +x; fleetssh_p=$-; set +v; } 2>/dev/null; [ "$fleetssh_u" = 1 ] || fleetssh_x=; `+
		`[ "$fleetssh_p" = "$-" ] || fleetssh_x="set -v; "; [ "$fleetssh_o" = "$fleetssh_p" ] || fleetssh_x="${fleetssh_x}set -x; "; fleetssh_t= fleetssh_u=; `+
		`[ "$fleetssh_x" = "" ] || fleetssh_u=1 fleetssh_t="{ fleetssh_u=; ${fleetssh_x}(exit $fleetssh_s); } 2>/dev/null; "; %s; fleetssh_m=%d`,
		status, sayEnd(number, "$fleetssh_s"), number)
}

// waitReady waits until the shell is ready.
func (s *Console) waitReady(ctx context.Context) error {
	ch := s.session.Channel
	select {
	case <-s.ready:
		return nil
	case <-ch.done:
	case <-ctx.Done():
		return ch.client.sessionError(ctx, "shell", ctx.Err())
	}
	if ch.Outcome().Kind == Lost {
		return ch.result()
	}
	why := "the shell ended"
	s.mu.Lock()
	if last := strings.TrimSpace(string(s.said.kept)); last != "" {
		why += ": " + sanitize.Line(last[strings.LastIndexByte(last, '\n')+1:])
	}
	s.mu.Unlock()
	host, port := ch.address()
	return &SessionError{Host: host, Port: port, Op: "shell", Err: errors.New(why)}
}

// newLine returns the place of a line that has not begun.
func (s *Console) newLine() *HostOutput {
	c := s.session.client
	ch := newChannel(c, c.d.budget, streamOptions{})
	ch.Stdin, ch.console, ch.state = closedInput{}, s, started
	return &HostOutput{Channel: ch, Host: s.Host, connected: s.session.connected}
}

// copy takes what the shell writes on a stream, until that ends.
func (s *Console) copy(stream int, from io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		m := &s.marks[stream]
		text := func(data []byte) { s.write(stream, data) }
		m.feed(buf[:n], text, func(said mark) { s.note(stream, said) })
		if err != nil {
			m.flush(text)
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// write keeps output. s.mu is held, here and in what follows.
func (s *Console) write(stream int, data []byte) {
	if out := s.into[stream]; out != nil {
		out.stream(stream).Write(data)
		return
	}
	if _, err := s.said.Write(data); err != nil {
		panic(err) // a tail takes everything
	}
}

// stream returns where a stream of a line is kept.
func (o *HostOutput) stream(number int) *spool.Stream {
	if number == stderrStream {
		return o.Stderr.stream
	}
	return o.Stdout.stream
}

// note takes a mark.
func (s *Console) note(stream int, m mark) {
	again := m.kind == promptMark && s.behind == m.line
	if m.kind == promptMark && (m.ended == m.line || s.line != nil && s.line.Finished()) {
		s.behind = m.line
	}
	switch {
	case m.line != s.number: // of a line before, said once more
	case s.line == nil:
		s.begins(stream, m)
	case s.line.Finished():
		if again && s.settled != nil {
			close(s.settled)
			s.settled, s.caught = nil, false
			s.marks[stdoutStream].hold, s.marks[stderrStream].hold = false, false
		}
	case m.kind == beginMark:
		s.open()
	case m.kind == promptMark:
		if m.ended != m.line && !s.asked { // it was broken off
			s.asked = true
			s.tell(endLine(m.line, strconv.Itoa(m.status&0xff)) + "\n")
		}
	case s.into[stream] == s.line:
		s.line.stream(stream).CloseWrite(nil)
		s.into[stream] = s.next
		if s.into[1-stream] == s.next {
			s.finish(Outcome{Kind: Exited, ExitCode: m.status}, nil)
		}
	}
}

// open lets signals to the line pass.
func (s *Console) open() {
	select {
	case <-s.begun:
	default:
		close(s.begun)
	}
}

// tell sends the shell something, on a goroutine of its own, which ends with the
// channel.
func (s *Console) tell(text string) {
	ch := s.session.Channel
	ch.client.spawn(func() { _, _ = ch.Stdin.Write([]byte(text)) })
}

// begins notes that a stream is ready.
func (s *Console) begins(stream int, m mark) {
	if m.kind != endMark || s.into[stream] != nil {
		return
	}
	s.process = m.status
	s.into[stream] = s.next
	if s.into[1-stream] != nil {
		close(s.ready)
	}
}

// finish notes how the line that runs has ended.
func (s *Console) finish(o Outcome, failure error) {
	ch := s.line.Channel
	s.open()
	s.last = o.ExitCode
	ch.Stdout.stream.CloseWrite(nil)
	ch.Stderr.stream.CloseWrite(nil)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.outcome.Kind != Running {
		return
	}
	ch.exit = o
	if ch.stopping != Running {
		o = Outcome{Kind: ch.stopping, Stopped: o.Kind == Exited || o.Kind == Signaled || o.Stopped}
		failure = nil
	}
	ch.outcome, ch.failure, ch.closed = o, failure, true
	ch.ran = time.Since(ch.begun)
	close(ch.done)
}

// over ends the line that runs, since the shell has ended.
func (s *Console) over() {
	shell := s.session.Channel
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, out := range s.into {
		if out != nil && out != s.line {
			out.stream(stdoutStream).Drop()
			out.stream(stderrStream).Drop()
		}
	}
	if s.line != nil && !s.line.Finished() {
		shell.mu.Lock()
		outcome, failure := shell.outcome, shell.failure
		shell.mu.Unlock()
		s.finish(outcome, failure)
	}
}

// Finished reports whether the shell has ended, or never was: it runs no more lines.
func (s *Console) Finished() bool { return s.session.Finished() }

// Outcome says how the shell ended; its Kind is Running until it has.
func (s *Console) Outcome() Outcome { return s.session.Outcome() }

// Close ends the input of the shell, which ends it when its line is done, waits for
// that, and closes its session. The error is nil if the shell has ended, with
// whichever exit code; what kept it from starting; a [*ConnectionError] if it was
// lost, and a [*TimeoutError] if ctx ends first: then the line may run on.
func (s *Console) Close(ctx context.Context) error {
	defer s.session.Channel.Close()
	err := s.session.WaitFinished(ctx)
	_, exited := errors.AsType[*ExitError](err)
	if o := s.Outcome(); exited || o.Kind == Cancelled && o.Stopped {
		return nil
	}
	return err
}

// Stop ends the shell and the line that runs, as [Channel.Stop] does, but with KILL
// at once: an interactive shell ignores TERM.
func (s *Console) Stop(ctx context.Context) error {
	ch := s.session.Channel
	if s.Err != nil || ch.Finished() {
		return ch.Close()
	}
	if ch.hold(Cancelled) == heldNow {
		switch {
		case ch.client.signalsGroups(ctx) && ch.heeds(ctx, s.signal(ctx, ssh.SIGKILL)):
			ch.confirm()
		case ch.fromOutside(ctx, cmdline.Signals{Names: "KILL", Patience: int(killGrace / (100 * time.Millisecond)), Top: s.shell()}):
			ch.confirm()
		case !ch.silent.Load():
			_ = s.signal(ctx, ssh.SIGKILL) // the outcome says that it is not known to help
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
		return &SessionError{Host: host, Port: port, Op: "signal", Err: errors.New("the shell may still run: the host did not say that it has ended")}
	}
	return nil
}
