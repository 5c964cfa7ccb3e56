package fleetssh

import (
	"errors"
	"fmt"
	"io"
	"time"

	"fleetssh/internal/password"
	"fleetssh/internal/sudo"
)

// copyFiltered is copy for the stream that carries sudo's prompts.
func (ch *Channel) copyFiltered(to *Output, from io.Reader, filter *sudo.Filter) {
	buf := make([]byte, 4<<10)
	for !filter.Off() {
		n, err := from.Read(buf)
		show, events := filter.Write(buf[:n])
		to.stream.Write(show)
		for _, e := range events {
			ch.sudoEvent(e, filter)
		}
		if err != nil {
			to.stream.Write(filter.Close())
		}
		ch.mu.Lock()
		ch.refused = filter.Refusal()
		ch.mu.Unlock()
		if err != nil {
			return
		}
	}
	to.stream.ReadFrom(from)
}

// sudoRefusal returns why sudo did not run the command that has ended with code, or nil if it
// ran. sudo exits with 0 only if the command does. It prints a refusal on the stream that would
// also carry the start sentinel. Without either it is unknown whether the command ran, and
// sudoRefusal returns nil.
func sudoRefusal(said sudo.Refusal, code int) error {
	switch {
	case code == 0 || said == sudo.Silent:
		return nil
	case said == sudo.WrongPassword:
		return errWrongPassword
	case said == sudo.NeedsTerminal:
		return ErrTerminalRequired
	}
	return fmt.Errorf("sudo did not run the command (exit code %d)", code)
}

var (
	errWrongPassword = errors.New("wrong password")
	errMorePasswords = errors.New("it asks for something else besides the password")
)

// sudoEvent answers sudo's prompts, and lets the user's input through once the command itself
// reads it.
func (ch *Channel) sudoEvent(e sudo.Event, filter *sudo.Filter) {
	if ch.run.cmd.SudoPassword == nil {
		return // the user answers on standard input
	}
	switch e {
	case sudo.Started:
		ch.input.open()
		ch.sudoTurn().Accept()
	case sudo.AskedAgain:
		ch.client.conn.Go(func() { ch.answerAgain(filter) })
	case sudo.AskedMore:
		ch.fail(errMorePasswords)
		ch.client.conn.Go(ch.refuseSudo)
	case sudo.Asked:
		ch.client.conn.Go(func() { ch.answerSudo(filter) })
	}
}

// answerSudo sends the password. It writes to the session directly, because Stdin is held back
// until the command runs.
func (ch *Channel) answerSudo(filter *sudo.Filter) {
	password, err := ch.run.cmd.SudoPassword(ch.context(), *ch.client.host)
	if err == nil {
		password, err = ch.takeTurn(password)
	}
	if err == nil {
		err = ch.tellSudo(password, filter)
	}
	if err != nil {
		filter.GiveUp()
		ch.fail(err)
		ch.refuseSudo()
	}
}

func (ch *Channel) tellSudo(password string, filter *sudo.Filter) error {
	if ch.run.cmd.PTY != nil {
		filter.Hide(password) // sudo may prompt before it turns off echo
	}
	_, err := ch.raw.Write([]byte(password + "\n"))
	return err
}

// takeTurn waits until the password may be sent, and returns it. The command's timeout is paused
// meanwhile.
func (ch *Channel) takeTurn(secret string) (string, error) {
	c := ch.client
	user, err := c.host.login()
	if err != nil {
		return "", err
	}
	shared := c.d.passwords.Get(user, secret)
	if shared == nil {
		return secret, nil
	}
	defer ch.holdTimer()()
	value, turn, err := shared.Acquire(ch.context())
	if refused, ok := err.(*password.RefusedError); ok {
		err = &PasswordError{Host: c.host.name(), Port: c.host.port(), User: refused.User, Phase: PhaseSudo, RefusedBy: refused.By}
	}
	if err != nil {
		return "", err
	}
	ch.mu.Lock()
	over := ch.outcome.Kind != Running
	if !over {
		ch.turn = turn
	}
	ch.mu.Unlock()
	if over {
		turn.Pass()
	}
	return value, nil
}

func (ch *Channel) sudoTurn() *password.Turn {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.turn
}

// answerAgain sends sudo another password, if the refused one was the first try for all hosts
// and the user supplies a new one.
func (ch *Channel) answerAgain(filter *sudo.Filter) {
	release := ch.holdTimer()
	another, ok := ch.sudoTurn().Refuse(ch.context(), ch.client.host.name(), ch.client.d.askInstead(ch.client.host, RefusedPassword{Sudo: true}))
	release()
	if ok && ch.tellSudo(another, filter) == nil {
		return
	}
	ch.fail(errWrongPassword)
	ch.refuseSudo()
}

// leaveTurn ends the turn to try the password when sudo has ended. A sudo that neither started
// the command nor prompted again may have refused the user rather than the password.
func (ch *Channel) leaveTurn(turn *password.Turn, said sudo.Refusal) {
	if said == sudo.WrongPassword {
		turn.Refuse(ch.context(), ch.client.host.name(), nil)
		return
	}
	turn.Pass()
}

// refuseSudo ends sudo's input, so that sudo gives up. A terminal does not pass on EOF: it needs
// the EOF character, Ctrl-D. If sudo has not ended after sudoGrace, refuseSudo ends the session.
func (ch *Channel) refuseSudo() {
	if ch.run.cmd.PTY != nil {
		_, _ = ch.raw.Write([]byte{4}) // if this fails, the wait below times out
	}
	ch.raw.CloseWrite()
	if !ch.waitEnd(ch.context(), sudoGrace) {
		ch.end(Outcome{Kind: Lost}, nil)
	}
}

// sudoGrace is how long sudo may take to end without a password. sudo delays its answer to a
// wrong password by about two seconds, and a busy host takes longer.
const sudoGrace = 10 * time.Second

// fail records why the command never ran; the outcome reports it when the session ends.
func (ch *Channel) fail(err error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if unsent, ok := err.(*PasswordError); ok && ch.failure == nil {
		ch.failure = unsent
	}
	if ch.failure == nil {
		ch.failure = ch.sudoError(err)
	}
}

func (ch *Channel) sudoError(err error) error {
	return &SessionError{Host: ch.client.host.name(), Port: ch.client.host.port(), Phase: PhaseSudo, Err: err}
}
