package fleetssh

import (
	"context"
	"errors"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/shellquote"
)

// How long the steps of stopping a command may take. Together with opening the
// session that it may need, Stop lasts about ten seconds at most.
const (
	signalReply = 1 * time.Second        // for the host to take a signal
	signalRetry = 500 * time.Millisecond // sshd refuses signals for a moment after the start
	termGrace   = 2 * time.Second        // between TERM and KILL
	killGrace   = 1 * time.Second        // between KILL and giving up
	outputGrace = 200 * time.Millisecond // for the last output of a command that has ended
	killSession = 3 * time.Second        // for a session that signals the command
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
		return ch.await(ctx, "signal", call{do: func() error {
			_, err := ch.raw.SendRequest("signal", false, payload)
			return err
		}})
	}
	return ch.request(ctx, "signal", "signal", payload)
}

// Stop ends the command: TERM, two seconds later KILL, then closing the session.
// Where the host takes no signals, as OpenSSH for root and for sudo, a second
// session sends them. Stopped in the [Outcome] says whether the host confirmed
// that the command has ended. Each step is bounded, all together to about ten
// seconds; when ctx ends, the session is closed at once.
//
// The error is nil if the command has ended, however, and a [*SessionError] if the
// host did not confirm it.
func (ch *Channel) Stop(ctx context.Context) error { return ch.stop(ctx, Cancelled) }

func (ch *Channel) stop(ctx context.Context, why OutcomeKind) error {
	if ch.console != nil && ch.raw == nil {
		return ch.console.stopLine(ctx, ch, why)
	}
	ch.mu.Lock()
	running := ch.state == started && ch.outcome.Kind == Running
	if running && ch.stopping == Running && ch.exit.Kind == Running {
		ch.stopping = why
	}
	ch.mu.Unlock()
	if !running {
		return ch.Close()
	}
	for _, step := range []struct {
		signal ssh.Signal
		grace  time.Duration
	}{{ssh.SIGTERM, termGrace}, {ssh.SIGKILL, killGrace}} {
		if ch.waitEnd(ctx, 0) || !ch.send(ctx, step.signal) || ch.waitEnd(ctx, step.grace) {
			break
		}
	}
	if ch.hasExited() {
		// Something that the command has started may hold its output open.
		ch.waitEnd(ctx, outputGrace)
	}
	ch.end(Outcome{Kind: Lost}, nil)
	if o := ch.Outcome(); (o.Kind == TimedOut || o.Kind == Cancelled) && !o.Stopped {
		host, port := ch.address()
		return &SessionError{Host: host, Port: port, Op: "signal", Err: errors.New("the command may still run: the host did not say that it has ended")}
	}
	return nil
}

// send delivers a signal in whatever way works. It reports whether one did.
func (ch *Channel) send(ctx context.Context, sig ssh.Signal) bool {
	if ch.run == nil || !ch.run.cmd.wantsSudo() {
		for end := time.Now().Add(signalRetry); ; {
			reply, cancel := context.WithTimeout(ctx, signalReply)
			err := ch.Signal(reply, sig)
			cancel()
			if err == nil {
				return true
			}
			if _, refused := errors.AsType[*SessionError](err); !refused {
				return ch.waitEnd(ctx, 0)
			}
			if time.Now().After(end) || ch.waitEnd(ctx, 50*time.Millisecond) {
				break
			}
		}
	}
	return ch.waitEnd(ctx, 0) || ch.signalFromOutside(ctx, sig)
}

// signalFromOutside sends a signal from a second session. All sessions of a
// connection have the same parent process on the host; if there is just one other,
// it is this one, and its process leads a group of its own.
func (ch *Channel) signalFromOutside(ctx context.Context, sig ssh.Signal) bool {
	// If this command ends by itself just now, the one process found would be that of
	// another. What goes through a master is not alone by what is known here.
	done, ok := ch.client.users.alone()
	if !ok || ch.client.login.Master != "" {
		if ok {
			done()
		}
		return false
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	r := &run{}
	if ch.run != nil && ch.run.cmd.wantsSudo() {
		r.cmd = Command{Sudo: true, User: ch.run.cmd.User, SudoPassword: ch.run.cmd.SudoPassword}
	}
	tokens := r.cmd.tokens()
	script := `me=$$; set --; ` +
		`for p in $(ps -A -o pid= -o ppid= | while read -r pid ppid; do ` +
		`if [ "$ppid" = "$PPID" ] && [ "$pid" != "$me" ]; then echo "$pid"; fi; done); ` +
		`do set -- "$@" "-$p"; done; ` +
		`[ $# = 1 ] || exit 1; ` + sudoPrefix(&r.cmd, tokens) + `kill -s ` + shellquote.Quote(string(sig)) + ` -- "$1"`
	killer, err := ch.client.openSession(ctx, streamOptions{})
	if err != nil {
		return false
	}
	defer killer.Close()
	killer.run, killer.stops = r, ch
	if killer.begin(ctx, "exec", execPayload("exec sh -c "+shellquote.Quote(script)), tokens) != nil {
		return false
	}
	return killer.WaitFinished(ctx) == nil
}

// waitEnd waits for the command to end, for the given time at most, and reports
// whether it has.
func (ch *Channel) waitEnd(ctx context.Context, most time.Duration) bool {
	if most == 0 {
		return ch.hasExited()
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
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
