package fleetssh

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/charset"
	"fleetssh/internal/conn"
	"fleetssh/internal/console"
	"fleetssh/internal/deadline"
	"fleetssh/internal/password"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/spool"
	"fleetssh/internal/sudo"
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

	client *Client       // nil if it was never opened
	raw    *conn.Session // nil if it was never opened
	input  *input
	run    *run // for what is to be done again on this host; may be nil

	silent atomic.Bool // the host has left what was to stop the command unanswered

	stops *Channel // not nil: the session is there to stop that command

	console *Console // not nil: the session of its shell, or, if raw is nil, a line of it

	done     chan struct{} // closed when the command has ended
	heard    chan struct{} // gets a token when there is something new, if the answer to the request to start it is late
	answered atomic.Bool   // the host has answered the request to start it

	mu       sync.Mutex // protects what follows
	state    channelState
	exit     Outcome      // what the server has said; Kind is Running until it has
	outcome  Outcome      // how it ended; Kind is Running until done is closed
	stopping OutcomeKind  // TimedOut or Cancelled, once it is being stopped; Lost if its input is broken
	broken   error        // why its input is
	held     *holding     // not nil: the call that stops the command ends the channel
	whole    bool         // its end is the end of everything that belongs to it
	failure  error        // what went wrong, if outcome does not tell
	refused  sudo.Refusal // what sudo has said instead of running the command
	streams  int          // that have not ended
	closed   bool         // the server has closed the channel, or the connection is gone
	watched  bool         // watch has been called
	wrote    bool         // something has come on a stream before the answer
	begun    time.Time
	ran      time.Duration
	start    time.Duration // how long opening and starting took
	timer    *time.Timer   // Command.Timeout
	limit    time.Duration
	timed    time.Time      // since when timer runs
	left     time.Duration  // of limit, while it stands still
	holds    int            // why it does
	turn     *password.Turn // to try the password for sudo; nil: it is not ours
	size     []byte         // of the terminal, to be sent
	resizing bool           // somebody sends it
}

type channelState int

const (
	fresh    channelState = iota
	starting              // the request is on its way
	started
	dead // the channel was closed before it was started
)

// streamOptions say how output is kept and read.
type streamOptions struct {
	text        *charset.Set
	readTimeout time.Duration
	max         int64
}

// newChannel returns a channel that has not been opened.
func newChannel(c *Client, budget *spool.Budget, opt streamOptions) *Channel {
	ch := &Channel{client: c, done: make(chan struct{})}
	stream := func() *Output {
		return &Output{stream: spool.NewStream(budget, opt.max), ch: ch, text: opt.text, wait: opt.readTimeout}
	}
	ch.Stdout, ch.Stderr = stream(), stream()
	return ch
}

// copy keeps what comes on one stream until it ends.
func (ch *Channel) copy(to *Output, from io.Reader, filter *sudo.Filter) {
	switch {
	case filter != nil:
		ch.copyFiltered(to, from, filter)
	case ch.console != nil && to == ch.Stdout:
		ch.console.copy(console.Stdout, from)
	case ch.console != nil:
		ch.console.copy(console.Stderr, from)
	default:
		to.stream.ReadFrom(from)
	}
	to.stream.CloseWrite(nil)
	ch.mu.Lock()
	ch.streams--
	ch.unlockAndEnd()
}

// unlockAndEnd ends the channel if everything has come: the streams, and what
// became of the command. A server may send the status before the last of the
// output, or long after it. ch.mu is held, and released.
func (ch *Channel) unlockAndEnd() {
	ended, served, exit := ch.closed || ch.exit.Kind != Running, ch.streams == 0, ch.exit
	over := ch.state == started && ended && served && ch.held == nil
	if ch.held != nil {
		ch.held.note(ended, served)
	}
	ch.hear()
	ch.mu.Unlock()
	if !over {
		return
	}
	if exit.Kind == Running {
		exit.Kind = Lost
	}
	ch.end(exit, nil)
}

// watch takes what the server says about the command (RFC 4254, section 6.10),
// until the channel is closed. Only the first call does: the reader of a status has recorded it
// when the end is noted.
func (ch *Channel) watch() {
	ch.mu.Lock()
	again := ch.watched
	ch.watched = true
	ch.mu.Unlock()
	if again {
		return
	}
	for req := range ch.raw.Requests {
		if o, ok := exitOf(req); ok {
			ch.exited(o)
		}
		req.Reply(false, nil)
	}
	ch.raw.Requests = nil
	ch.mu.Lock()
	ch.closed = true
	ch.unlockAndEnd()
}

// exitOf returns what a request says about the end of a command (RFC 4254, section 6.10).
func exitOf(req *ssh.Request) (o Outcome, ok bool) {
	switch req.Type {
	case "exit-status":
		var status struct{ Code uint32 }
		if ssh.Unmarshal(req.Payload, &status) == nil {
			return Outcome{Kind: Exited, ExitCode: int(status.Code)}, true
		}
	case "exit-signal":
		var status struct {
			Signal     string
			CoreDumped bool
			Message    string
			Lang       string
		}
		if ssh.Unmarshal(req.Payload, &status) == nil {
			return Outcome{Kind: Signaled, Signal: sanitize.Line(status.Signal)}, true
		}
	}
	return o, false
}

// exited notes how the command ended.
func (ch *Channel) exited(o Outcome) {
	ch.mu.Lock()
	first := ch.exit.Kind == Running
	if first {
		ch.exit = o
	}
	ch.unlockAndEnd()
	if first {
		ch.client.conn.RemoveProgram()
	}
}

// end notes the outcome and gives up the channel. Only the first call counts.
func (ch *Channel) end(o Outcome, failure error) {
	ch.mu.Lock()
	if ch.outcome.Kind != Running {
		ch.mu.Unlock()
		return
	}
	switch {
	case ch.stopping != Running:
		o = Outcome{Kind: ch.stopping, Stopped: ch.whole && ch.exit.Kind != Running && ch.streams == 0}
		if ch.stopping == Lost {
			o, failure = Outcome{Kind: Lost}, ch.broken
		}
	case o.Kind == Lost && ch.exit.Kind != Running:
		// It has ended, and is given up: something else may hold its output open.
		o, failure = ch.exit, nil
	}
	if o.Kind == Exited && ch.failure == nil && ch.streams == 0 {
		if why := sudoRefusal(ch.refused, o.ExitCode); why != nil {
			ch.failure = ch.sudoError(why)
		}
	}
	if ch.failure != nil {
		o, failure = Outcome{Kind: NotStarted, Phase: phaseOf(ch.failure)}, ch.failure
	}
	if o.Kind == Lost && failure == nil {
		failure = ch.lost()
	}
	ch.outcome, ch.failure = o, failure
	ch.ran = time.Since(ch.begun)
	timer, closed, turn, said := ch.timer, ch.closed, ch.turn, ch.refused
	ch.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	ch.leaveTurn(turn, said)
	ch.client.conn.Leave() // before anybody hears of the end, who may want to close the connection
	close(ch.done)
	ch.Stdout.stream.CloseWrite(nil)
	ch.Stderr.stream.CloseWrite(nil)
	if ch.console != nil {
		ch.console.over()
	}
	raw := ch.raw.Release()
	if raw != nil && !closed { // tells the host that nothing more is wanted
		ch.client.conn.CloseSoon(raw)
	}
}

// lost returns the error for a command of which nobody said how it ended.
func (ch *Channel) lost() error {
	c := ch.client
	why := error(errors.New("the host closed the session without saying how the command ended"))
	if c.conn.Failed() {
		why = c.conn.LostError(io.EOF)
	}
	return &ConnectionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseRun, Err: why}
}

// Finished reports whether the command has ended and all of its output is here,
// without waiting.
func (ch *Channel) Finished() bool {
	select {
	case <-ch.done:
		return true
	default:
		return false
	}
}

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
	if ch.input != nil {
		ch.input.finish()
	}
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

// Resize tells the command's terminal its new size. It does not wait for the host, which
// hears of the last of several sizes when it reads.
func (ch *Channel) Resize(rows, cols int) error {
	if ch.raw == nil || ch.Finished() {
		return conn.ErrClosed
	}
	ch.mu.Lock()
	sending := ch.resizing
	ch.resizing = true
	ch.size = ssh.Marshal(struct {
		Cols, Rows, Width, Height uint32
	}{uint32(cols), uint32(rows), 0, 0})
	ch.mu.Unlock()
	if !sending && !ch.client.conn.Go(ch.sendSizes) {
		return conn.ErrClosed
	}
	return nil
}

// sendSizes sends the sizes that there are.
func (ch *Channel) sendSizes() {
	for {
		ch.mu.Lock()
		size := ch.size
		ch.size, ch.resizing = nil, size != nil
		ch.mu.Unlock()
		if size == nil {
			return
		}
		_, _ = ch.raw.SendRequest("window-change", false, size) // or the command has ended
	}
}

// Close ends the session without waiting for the command, which may run on. What
// it has written until now stays readable. It is safe to call more than once, and
// frees a Write to Stdin that waits.
func (ch *Channel) Close() error {
	if ch.raw == nil {
		return nil
	}
	ch.mu.Lock()
	state := ch.state
	if state == fresh {
		ch.state = dead // nobody else abandons it
	}
	ch.mu.Unlock()
	switch state {
	case starting:
		ch.client.conn.CloseSoon(ch.raw) // the request ends, and begin with it
	case started:
		ch.end(Outcome{Kind: Lost}, &ConnectionError{
			Host: ch.client.host.name(), Port: ch.client.host.port(), Phase: PhaseRun, Err: &conn.Error{Text: "the channel is closed", Err: conn.ErrClosed},
		})
	case fresh:
		ch.abandon(fresh, conn.ErrClosed)
	}
	return nil
}

// abandon gives up a channel on which nothing was started; was is the state until then.
func (ch *Channel) abandon(was channelState, why error) {
	ch.mu.Lock()
	ch.state = dead
	ch.outcome, ch.failure = OutcomeOf(why), why
	ch.mu.Unlock()
	ch.client.conn.SetUsed(ch.raw)
	if was == fresh { // nobody serves it
		ch.client.conn.Discard(ch.raw, ch.raw.Requests)
	} else if raw := ch.raw.Release(); raw != nil {
		ch.client.conn.CloseSoon(raw)
	}
	ch.client.conn.Leave()
	close(ch.done)
	ch.Stdout.stream.CloseWrite(nil)
	ch.Stderr.stream.CloseWrite(nil)
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
func (ch *Channel) address() (string, int) {
	if ch.client == nil {
		return "", 0
	}
	return ch.client.host.name(), ch.client.host.port()
}
