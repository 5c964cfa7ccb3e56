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
// add up to about twenty seconds. That session has most of them: sudo may ask a slow directory who
// the user is, and a command whose killer is given up runs on.
const (
	signalReply = 2 * time.Second        // for the reply to a signal; without one the host counts as silent
	signalRetry = 500 * time.Millisecond // sshd refuses signals for a moment after the start
	termGrace   = 2 * time.Second        // between TERM and KILL
	killGrace   = 1 * time.Second        // between KILL and giving up
	outputGrace = 200 * time.Millisecond // for the last output of a command that has ended
	killSession = 15 * time.Second       // for a session that signals a command, with its pauses
	openReply   = 5 * time.Second        // for opening that session; part of killSession
)

func (s *session) signal(ctx context.Context, sig ssh.Signal) error {
	// RFC 4254, section 6.9. OpenSSH replies if asked to, although the RFC specifies no reply.
	payload := ssh.Marshal(struct{ Name string }{string(sig)})
	s.mu.Lock()
	unanswered := s.state == started && !s.answered.Load()
	s.mu.Unlock()
	if unanswered {
		// The host has not answered the start request yet, and the SSH library waits for one
		// reply at a time.
		return s.await(ctx, PhaseSignal, conn.Call{Do: func() error {
			_, err := s.raw.SendRequest("signal", false, payload)
			return err
		}})
	}
	return s.request(ctx, PhaseSignal, "signal", payload)
}

func (s *session) stop(ctx context.Context, why OutcomeKind) error {
	switch s.hold(why) {
	case notRunning:
		return s.close()
	case heldAlready:
		select {
		case <-s.done:
		case <-ctx.Done():
			s.end(Outcome{Kind: Lost}, nil)
		}
		return s.stopped()
	}
	asSudo := s.cmd.wantsSudo()
	direct := !asSudo && s.client.signalsGroups(ctx)
	switch {
	case s.waitEnd(ctx, 0):
	case direct && s.heeds(ctx, s.signalToEnd(ctx)):
		s.confirm()
	case s.fromOutside(ctx, cmdline.Signals{Names: "TERM KILL", Patience: int(termGrace / (100 * time.Millisecond))}):
		s.confirm()
	case !direct && !asSudo && !s.silent.Load():
		// The signal ends the process that the server has started, which may be the only
		// one. Some servers send no reply, in line with the RFC.
		if err := s.signalToEnd(ctx); err != nil && !isSessionError(err) {
			s.waitEnd(ctx, termGrace)
		}
	}
	s.endHeld(ctx)
	return s.stopped()
}

// heeds reports whether a server that replies to signals, such as OpenSSH, has accepted one. A
// slow server gets killGrace to end the command without a reply. After that the channel counts
// as silent and Stop tries nothing else on it.
func (s *session) heeds(ctx context.Context, err error) bool {
	if err == nil || isSessionError(err) {
		return err == nil
	}
	ended := s.waitEnd(ctx, killGrace)
	s.silent.Store(!ended)
	return ended
}

// isSessionError reports whether err is a [*SessionError]: the host has refused a request.
func isSessionError(err error) bool {
	_, refused := errors.AsType[*SessionError](err)
	return refused
}

// endHeld ends a channel that hold has claimed, after a short wait for its last output.
func (s *session) endHeld(ctx context.Context) {
	if !s.silent.Load() && s.waitEnd(ctx, killGrace) {
		// A process that the command has started may still hold its output open.
		timer := time.NewTimer(outputGrace)
		defer timer.Stop()
		select {
		case <-s.held.served:
		case <-s.done:
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	s.end(Outcome{Kind: Lost}, nil)
}

// stopped returns the error of Stop.
func (s *session) stopped() error {
	if o := s.Outcome(); (o.Kind == TimedOut || o.Kind == Cancelled) && !o.Stopped {
		host, port := s.address()
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

// record closes the channels of the events that have happened.
func (h *holding) record(ended, served bool) {
	if ended && !isClosed(h.ended) {
		close(h.ended)
	}
	if ended && served && !isClosed(h.served) {
		close(h.served)
	}
}

// hold makes the caller responsible for ending the channel. While a command is being stopped, the
// channel must not end by itself: the caller still has to confirm that no process is left.
func (s *session) hold(why OutcomeKind) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != started || s.outcome.Kind != Running:
		return notRunning
	case s.held != nil:
		return heldAlready
	}
	if s.exit.Kind == Running {
		s.stopping = why
	}
	s.held = &holding{make(chan struct{}), make(chan struct{})}
	s.held.record(s.closed || s.exit.Kind != Running, s.streams == 0)
	return heldNow
}

// confirm records that the command has ended with all processes that belong to it.
func (s *session) confirm() {
	s.mu.Lock()
	s.whole = true
	s.mu.Unlock()
}

// signalToEnd asks the server to end the command with TERM, then KILL. The error is a
// [*SessionError] if the server refuses signals, and another one if it does not reply.
func (s *session) signalToEnd(ctx context.Context) error {
	if err := s.signalInTime(ctx, ssh.SIGTERM); err != nil {
		return err
	}
	if !s.waitEnd(ctx, termGrace) && s.signalInTime(ctx, ssh.SIGKILL) == nil {
		s.waitEnd(ctx, killGrace)
	}
	return nil
}

// signalInTime asks the server to send a signal, again for signalRetry if it is refused. It
// returns the same errors as signalToEnd, and nil if the command has ended.
func (s *session) signalInTime(ctx context.Context, sig ssh.Signal) error {
	for end := time.Now().Add(signalRetry); ; {
		reply, cancel := context.WithTimeout(ctx, signalReply)
		err := s.signal(reply, sig)
		cancel()
		if s.waitEnd(ctx, 0) {
			return nil
		}
		if err == nil || !isSessionError(err) {
			return err
		}
		if s.waitEnd(ctx, 50*time.Millisecond) {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// stopAfter stops the command once limit has passed, not counting the time while the timer is held.
func (s *session) stopAfter(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcome.Kind != Running {
		return
	}
	s.limit, s.left = limit, limit
	if s.holds == 0 {
		s.startTimer()
	}
}

// startTimer starts or resumes the timeout of the command. s.mu is held.
func (s *session) startTimer() {
	s.timed = time.Now()
	s.timer = time.AfterFunc(s.left, func() {
		s.client.conn.Go(func() { s.stop(context.Background(), TimedOut) })
	})
}

// holdTimer pauses the timeout of the command until release is called.
func (s *session) holdTimer() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds++; s.holds == 1 && s.timer != nil && s.timer.Stop() {
		s.left -= time.Since(s.timed)
		s.timer = nil
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.holds--; s.holds == 0 && s.limit > 0 && s.timer == nil && s.outcome.Kind == Running {
			s.startTimer()
		}
	}
}

// waitEnd waits at most the given time for the command to end, and reports whether it has ended.
func (s *session) waitEnd(ctx context.Context, most time.Duration) bool {
	if s.hasExited() || most == 0 {
		return s.hasExited()
	}
	var ended <-chan struct{}
	s.mu.Lock()
	if s.held != nil {
		ended = s.held.ended
	}
	s.mu.Unlock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ended:
	case <-s.done:
	case <-ctx.Done():
	case <-timer.C:
	}
	return s.hasExited()
}

// hasExited reports whether the exit status has arrived or can no longer arrive.
func (s *session) hasExited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit.Kind != Running || s.outcome.Kind != Running
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
func (s *session) fromOutside(ctx context.Context, what cmdline.Signals) bool {
	if s.silent.Load() {
		return false
	}
	if what.Top == 0 {
		// The script looks for the only other command of the connection. If this command ends
		// just now, the process it finds would be another command's. Behind a master other ssh
		// clients may run commands that this client does not know of.
		done, ok := s.client.conn.TryExclusive()
		if !ok {
			return false
		}
		defer done()
		if s.client.login.Master != "" {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	cmd := &noCommand
	var as *cmdline.Sudo
	var sentinels *sudo.Sentinels
	if s.cmd.wantsSudo() {
		cmd = &Command{Sudo: true, User: s.cmd.User, SudoPassword: s.cmd.SudoPassword}
		sentinels = cmd.sentinels()
		as = &cmdline.Sudo{User: cmd.User, Sentinels: sentinels}
	}
	opening, stop := context.WithTimeout(ctx, openReply)
	killer, err := s.client.openSession(opening, streamOptions{})
	stop()
	if err != nil {
		if timedOut(err) {
			s.silent.Store(true)
		}
		return false
	}
	defer killer.Close()
	killer.cmd, killer.sentinels, killer.stopper = cmd, sentinels, true
	if killer.start(ctx, PhaseExec, execPayload(what.Line(as))) != nil {
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
