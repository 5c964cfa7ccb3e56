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

// Time limits of the steps of Stop. All together, with a second session if one is needed, they
// add up to about ten seconds.
const (
	signalReply = 2 * time.Second        // for the reply to a signal; without one the host counts as silent
	signalRetry = 500 * time.Millisecond // sshd refuses signals for a moment after the start
	termGrace   = 2 * time.Second        // between TERM and KILL
	killGrace   = 1 * time.Second        // between KILL and giving up
	outputGrace = 200 * time.Millisecond // for the last output of a command that has ended
	killSession = 6 * time.Second        // for a session that signals a command, with its pauses
	openReply   = 3 * time.Second        // for opening that session; part of killSession
)

// Signal sends sig to the command. The error is a [*SessionError] if the host did not accept the
// signal. OpenSSH accepts signals for commands of ordinary users; it refuses them for commands of
// root and cannot signal a command that sudo runs.
func (ch *Channel) Signal(ctx context.Context, sig ssh.Signal) error {
	if ch.console != nil && ch.raw == nil {
		return ch.console.signalLine(ctx, ch, sig)
	}
	// RFC 4254, section 6.9. OpenSSH replies if asked to, although the RFC specifies no reply.
	payload := ssh.Marshal(struct{ Name string }{string(sig)})
	ch.mu.Lock()
	unanswered := ch.state == started && !ch.answered.Load()
	ch.mu.Unlock()
	if unanswered {
		// The host has not answered the start request yet, and the SSH library waits for one
		// reply at a time.
		return ch.await(ctx, PhaseSignal, conn.Call{Do: func() error {
			_, err := ch.raw.SendRequest("signal", false, payload)
			return err
		}})
	}
	return ch.request(ctx, PhaseSignal, "signal", payload)
}

// Stop ends the command: it sends TERM, two seconds later KILL, then closes the session. A second
// session sends the signals if the server does not accept them (OpenSSH for root and for sudo) or
// passes them to the shell alone (dropbear). Stopped in the [Outcome] says whether the end of the
// command is confirmed, including all processes that it has started and that still belong to it.
// Every step has a time limit; all together take about ten seconds at most. When ctx ends, Stop
// closes the session at once.
//
// The error is nil if the command has ended in any way, and a [*SessionError] if its end is not
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
		// The signal ends the process that the server has started, which may be the only
		// one. Some servers send no reply, in line with the RFC.
		if err := ch.signalToEnd(ctx); err != nil && !isSessionError(err) {
			ch.waitEnd(ctx, termGrace)
		}
	}
	ch.endHeld(ctx)
	return ch.stopped()
}

// heeds reports whether a server that replies to signals, such as OpenSSH, has accepted one. A
// slow server gets killGrace to end the command without a reply. After that the channel counts
// as silent and Stop tries nothing else on it.
func (ch *Channel) heeds(ctx context.Context, err error) bool {
	if err == nil || isSessionError(err) {
		return err == nil
	}
	ended := ch.waitEnd(ctx, killGrace)
	ch.silent.Store(!ended)
	return ended
}

// isSessionError reports whether err is a [*SessionError]: the host has refused a request.
func isSessionError(err error) bool {
	_, refused := errors.AsType[*SessionError](err)
	return refused
}

// endHeld ends a channel that hold has claimed, after a short wait for its last output.
func (ch *Channel) endHeld(ctx context.Context) {
	if !ch.silent.Load() && ch.waitEnd(ctx, killGrace) {
		// A process that the command has started may still hold its output open.
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

// Results of hold.
const (
	notRunning = iota
	heldAlready
	heldNow
)

// holding is what Stop waits for.
type holding struct {
	ended  chan struct{} // closed when the exit status has arrived or the host has closed the channel
	served chan struct{} // closed when the streams have ended too
}

// note closes the channels of the events that have happened.
func (h *holding) note(ended, served bool) {
	if ended && !isClosed(h.ended) {
		close(h.ended)
	}
	if ended && served && !isClosed(h.served) {
		close(h.served)
	}
}

// hold makes the caller responsible for ending the channel. While a command is being stopped, the
// channel must not end by itself: the caller still has to confirm that no process is left.
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

// confirm records that the command has ended with all processes that belong to it.
func (ch *Channel) confirm() {
	ch.mu.Lock()
	ch.whole = true
	ch.mu.Unlock()
}

// signalToEnd asks the server to end the command with TERM, then KILL. The error is a
// [*SessionError] if the server refuses signals, and another one if it does not reply.
func (ch *Channel) signalToEnd(ctx context.Context) error {
	if err := ch.signalInTime(ctx, ssh.SIGTERM); err != nil {
		return err
	}
	if !ch.waitEnd(ctx, termGrace) && ch.signalInTime(ctx, ssh.SIGKILL) == nil {
		ch.waitEnd(ctx, killGrace)
	}
	return nil
}

// signalInTime asks the server to send a signal, again for signalRetry if it is refused. It
// returns the same errors as signalToEnd, and nil if the command has ended.
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

// stopAfter stops the command once limit has passed, not counting the time while the timer is held.
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

// startTimer starts or resumes the timeout of the command. ch.mu is held.
func (ch *Channel) startTimer() {
	ch.timed = time.Now()
	ch.timer = time.AfterFunc(ch.left, func() {
		ch.client.conn.Go(func() { ch.stop(context.Background(), TimedOut) })
	})
}

// holdTimer pauses the timeout of the command until release is called.
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

// waitEnd waits at most the given time for the command to end, and reports whether it has ended.
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

// hasExited reports whether the exit status has arrived or can no longer arrive.
func (ch *Channel) hasExited() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.exit.Kind != Running || ch.outcome.Kind != Running
}

// groupSignals are servers that send a signal to the whole process group of a command. The exit
// status that another server reports after a signal concerns the shell alone: dropbear leaves
// all other processes running.
var groupSignals = []string{"OpenSSH_", "SSH-2.0-simfleet"}

// signalsGroups reports whether the server is known to signal the process group of a command.
func (c *Client) signalsGroups(ctx context.Context) bool {
	if c.login.Master != "" {
		return c.isBehindSSHD(ctx)
	}
	version := string(c.conn.Link().ServerVersion())
	if strings.Contains(version, "OpenSSH_for_Windows") {
		return false // Windows has no process groups; the server ends the shell alone
	}
	for _, known := range groupSignals {
		if strings.Contains(version, known) {
			return true
		}
	}
	return false
}

// isBehindSSHD asks a host behind an OpenSSH master whether its server is sshd. A master does not
// pass on the server's version.
func (c *Client) isBehindSSHD(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	name, err := c.Output(ctx, cmdline.ServerName())
	return err == nil && strings.Contains(string(name), "sshd")
}

// fromOutside signals the processes of a command from a second session. It serves hosts that
// refuse signals (OpenSSH for root and for sudo) and hosts that pass them to the shell alone and
// not to its children. It reports whether the signals were sent; if what includes a wait, whether
// the processes are gone.
func (ch *Channel) fromOutside(ctx context.Context, what cmdline.Signals) bool {
	if ch.silent.Load() {
		return false
	}
	if what.Top == 0 {
		// The script looks for the only other command of the connection. If this command ends
		// just now, the process it finds would be another command's. Behind a master other ssh
		// clients may run commands that this client does not know of.
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
