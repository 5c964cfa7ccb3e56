package fleetssh

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/cmdline"
	"fleetssh/internal/conn"
	"fleetssh/internal/sudo"
)

// How long the steps of stopping a command may take. Together with opening the
// session that it may need, Stop lasts about ten seconds at most.
const (
	signalReply = 2 * time.Second        // for the host to take a signal; one that takes longer is taken for silent
	signalRetry = 500 * time.Millisecond // sshd refuses signals for a moment after the start
	termGrace   = 2 * time.Second        // between TERM and KILL
	killGrace   = 1 * time.Second        // between KILL and giving up
	outputGrace = 200 * time.Millisecond // for the last output of a command that has ended
	killSession = 6 * time.Second        // for a session that signals a command, with its pauses
	openReply   = 3 * time.Second        // of that, for opening it
)

// Signal sends sig to the command and reports whether the host took it: the error
// is a [*SessionError] if it did not. OpenSSH takes signals for the commands of
// ordinary users, not for those of root, and has none for what sudo runs.
func (ch *Channel) Signal(ctx context.Context, sig ssh.Signal) error {
	if ch.console != nil && ch.raw == nil {
		return ch.console.signalLine(ctx, ch, sig)
	}
	// RFC 4254, section 6.9. OpenSSH answers if asked to, although the RFC asks
	// for no reply.
	payload := ssh.Marshal(struct{ Name string }{string(sig)})
	ch.mu.Lock()
	unanswered := ch.state == started && !ch.answered.Load()
	ch.mu.Unlock()
	if unanswered {
		// The host has not answered to the start, and the SSH library asks one thing at a time.
		return ch.await(ctx, PhaseSignal, conn.Call{Do: func() error {
			_, err := ch.raw.SendRequest("signal", false, payload)
			return err
		}})
	}
	return ch.request(ctx, PhaseSignal, "signal", payload)
}

// Stop ends the command: TERM, two seconds later KILL, then closing the session.
// Where the host takes no signals, as OpenSSH for root and for sudo, or hands them to the
// shell alone, as dropbear, a second session sends them. Stopped in the [Outcome] says whether
// it is confirmed that the command has ended, with everything that it had started and that
// still belongs to it. Each step is bounded, all together to about ten
// seconds; when ctx ends, the session is closed at once.
//
// The error is nil if the command has ended, however, and a [*SessionError] if that is not
// confirmed.
func (ch *Channel) Stop(ctx context.Context) error { return ch.stop(ctx, Cancelled) }

func (ch *Channel) stop(ctx context.Context, why OutcomeKind) error {
	if ch.console != nil && ch.raw == nil {
		return ch.console.stopLine(ctx, ch, why)
	}
	switch ch.hold(why) {
	case notRunning:
		return ch.Close()
	case heldAlready:
		select {
		case <-ch.done:
		case <-ctx.Done():
			ch.end(Outcome{Kind: Lost}, nil)
		}
		return ch.stopped()
	}
	asSudo := ch.run != nil && ch.run.cmd.wantsSudo()
	direct := !asSudo && ch.client.signalsGroups(ctx)
	switch {
	case ch.waitEnd(ctx, 0):
	case direct && ch.heeds(ctx, ch.signalToEnd(ctx)):
		ch.confirm()
	case ch.fromOutside(ctx, cmdline.Signals{Names: "TERM KILL", Patience: int(termGrace / (100 * time.Millisecond))}):
		ch.confirm()
	case !direct && !asSudo && !ch.silent.Load():
		// It ends what the server has started, which may be all there is. Some servers
		// do not answer, as the RFC has it.
		if err := ch.signalToEnd(ctx); err != nil && !isSessionError(err) {
			ch.waitEnd(ctx, termGrace)
		}
	}
	ch.endHeld(ctx)
	return ch.stopped()
}

// heeds reports whether a server that answers to signals, which OpenSSH does, has taken one.
// One that leaves it unanswered has a moment more: it may be slow. After that nothing more
// is to be expected.
func (ch *Channel) heeds(ctx context.Context, err error) bool {
	if err == nil || isSessionError(err) {
		return err == nil
	}
	ended := ch.waitEnd(ctx, killGrace)
	ch.silent.Store(!ended)
	return ended
}

// isSessionError reports whether the host has refused something.
func isSessionError(err error) bool {
	_, refused := errors.AsType[*SessionError](err)
	return refused
}

// endHeld ends the channel for whoever holds it, with the last of what comes.
func (ch *Channel) endHeld(ctx context.Context) {
	if !ch.silent.Load() && ch.waitEnd(ctx, killGrace) {
		// Something that the command has started may hold its output open.
		timer := time.NewTimer(outputGrace)
		defer timer.Stop()
		select {
		case <-ch.held.served:
		case <-ch.done:
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	ch.end(Outcome{Kind: Lost}, nil)
}

// stopped returns the error of Stop.
func (ch *Channel) stopped() error {
	if o := ch.Outcome(); (o.Kind == TimedOut || o.Kind == Cancelled) && !o.Stopped {
		host, port := ch.address()
		return &SessionError{Host: host, Port: port, Phase: PhaseSignal, Err: errors.New("the command may still run: it is not confirmed that all of it has ended")}
	}
	return nil
}

// What hold has found.
const (
	notRunning = iota
	heldAlready
	heldNow
)

// holding is what whoever stops a command waits for.
type holding struct {
	ended  chan struct{} // closed when the host has said how it ended, or has closed the channel
	served chan struct{} // closed when the streams have ended too
}

// note closes what there is to be closed.
func (h *holding) note(ended, served bool) {
	if ended && !isClosed(h.ended) {
		close(h.ended)
	}
	if ended && served && !isClosed(h.served) {
		close(h.served)
	}
}

// hold leaves it to the caller to end the channel: that it has come to its end is not all that
// matters when it is being stopped.
func (ch *Channel) hold(why OutcomeKind) int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	switch {
	case ch.state != started || ch.outcome.Kind != Running:
		return notRunning
	case ch.held != nil:
		return heldAlready
	}
	if ch.exit.Kind == Running {
		ch.stopping = why
	}
	ch.held = &holding{make(chan struct{}), make(chan struct{})}
	ch.held.note(ch.closed || ch.exit.Kind != Running, ch.streams == 0)
	return heldNow
}

// confirm notes that the end of the command is that of all that belongs to it.
func (ch *Channel) confirm() {
	ch.mu.Lock()
	ch.whole = true
	ch.mu.Unlock()
}

// signalToEnd asks the server to end the command. The error is a [*SessionError] if the
// server takes no signals, and another if it does not say.
func (ch *Channel) signalToEnd(ctx context.Context) error {
	if err := ch.signalInTime(ctx, ssh.SIGTERM); err != nil {
		return err
	}
	if !ch.waitEnd(ctx, termGrace) && ch.signalInTime(ctx, ssh.SIGKILL) == nil {
		ch.waitEnd(ctx, killGrace)
	}
	return nil
}

// signalInTime asks the server to send a signal. The error is as for signalToEnd, and nil
// if the command has ended.
func (ch *Channel) signalInTime(ctx context.Context, sig ssh.Signal) error {
	for end := time.Now().Add(signalRetry); ; {
		reply, cancel := context.WithTimeout(ctx, signalReply)
		err := ch.Signal(reply, sig)
		cancel()
		if ch.waitEnd(ctx, 0) {
			return nil
		}
		if err == nil || !isSessionError(err) {
			return err
		}
		if ch.waitEnd(ctx, 50*time.Millisecond) {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// stopAfter stops the command when the time is up.
func (ch *Channel) stopAfter(limit time.Duration) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.outcome.Kind != Running {
		return
	}
	ch.limit, ch.left = limit, limit
	if ch.holds == 0 {
		ch.startTimer()
	}
}

// startTimer lets the time run. ch.mu is held.
func (ch *Channel) startTimer() {
	ch.timed = time.Now()
	ch.timer = time.AfterFunc(ch.left, func() {
		ch.client.conn.Go(func() { ch.stop(context.Background(), TimedOut) })
	})
}

// holdTimer has the time stand still until release is called.
func (ch *Channel) holdTimer() (release func()) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.holds++; ch.holds == 1 && ch.timer != nil && ch.timer.Stop() {
		ch.left -= time.Since(ch.timed)
		ch.timer = nil
	}
	return func() {
		ch.mu.Lock()
		defer ch.mu.Unlock()
		if ch.holds--; ch.holds == 0 && ch.limit > 0 && ch.timer == nil && ch.outcome.Kind == Running {
			ch.startTimer()
		}
	}
}

// waitEnd waits for the command to end, for the given time at most, and reports
// whether it has.
func (ch *Channel) waitEnd(ctx context.Context, most time.Duration) bool {
	if ch.hasExited() || most == 0 {
		return ch.hasExited()
	}
	var ended <-chan struct{}
	ch.mu.Lock()
	if ch.held != nil {
		ended = ch.held.ended
	}
	ch.mu.Unlock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ended:
	case <-ch.done:
	case <-ctx.Done():
	case <-timer.C:
	}
	return ch.hasExited()
}

// hasExited reports whether the server has said how the command ended, or never
// will.
func (ch *Channel) hasExited() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.exit.Kind != Running || ch.outcome.Kind != Running
}

// groupSignals are servers that send a signal to the whole process group of a command. What
// another server says about the end of a command after a signal is true of its shell alone:
// dropbear leaves everything else running.
var groupSignals = []string{"OpenSSH_", "SSH-2.0-simfleet"}

// signalsGroups reports whether the server is known to signal the process group of a command.
func (c *Client) signalsGroups(ctx context.Context) bool {
	if c.login.Master != "" {
		return c.isBehindSSHD(ctx)
	}
	version := string(c.conn.Link().ServerVersion())
	if strings.Contains(version, "OpenSSH_for_Windows") {
		return false // there are no groups, and it ends the shell alone
	}
	for _, known := range groupSignals {
		if strings.Contains(version, known) {
			return true
		}
	}
	return false
}

// isBehindSSHD asks the host what the server of a connection is whose other end a master has:
// it does not hand on the server's version.
func (c *Client) isBehindSSHD(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	name, err := c.Output(ctx, cmdline.ServerName())
	return err == nil && strings.Contains(string(name), "sshd")
}

// fromOutside does something to the processes of a command from a second session: for hosts
// that take no signals (OpenSSH for root, and for what sudo runs), and for those that hand
// them to the shell alone and not to what it has started. It reports
// whether that has been done: if it waits, that they are gone.
func (ch *Channel) fromOutside(ctx context.Context, what cmdline.Signals) bool {
	if ch.silent.Load() {
		return false
	}
	if what.Top == 0 {
		// If this command ends by itself just now, the one process found would be that of
		// another. What goes through a master is not alone by what is known here.
		done, ok := ch.client.conn.TryExclusive()
		if !ok {
			return false
		}
		defer done()
		if ch.client.login.Master != "" {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	r := &run{}
	var as *cmdline.Sudo
	var sentinels *sudo.Sentinels
	if ch.run != nil && ch.run.cmd.wantsSudo() {
		r.cmd = Command{Sudo: true, User: ch.run.cmd.User, SudoPassword: ch.run.cmd.SudoPassword}
		sentinels = r.cmd.sentinels()
		as = &cmdline.Sudo{User: r.cmd.User, Sentinels: sentinels}
	}
	opening, stop := context.WithTimeout(ctx, openReply)
	killer, err := ch.client.openSession(opening, streamOptions{})
	stop()
	if err != nil {
		if timedOut(err) {
			ch.silent.Store(true)
		}
		return false
	}
	defer killer.Close()
	killer.run, killer.stops = r, ch
	if killer.begin(ctx, PhaseExec, execPayload(what.Line(as)), sentinels) != nil {
		return false
	}
	return killer.WaitFinished(ctx) == nil
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
