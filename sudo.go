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
func (s *session) copyFiltered(to *Output, from io.Reader, filter *sudo.Filter) {
	buf := make([]byte, 4<<10)
	for !filter.Off() {
		n, err := from.Read(buf)
		show, events := filter.Write(buf[:n])
		to.stream.Write(show)
		for _, e := range events {
			s.sudoEvent(e, filter)
		}
		if err != nil {
			to.stream.Write(filter.Close())
		}
		s.mu.Lock()
		s.refused = filter.Refusal()
		s.mu.Unlock()
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
func (s *session) sudoEvent(e sudo.Event, filter *sudo.Filter) {
	if s.cmd.SudoPassword == nil {
		return // the user answers on standard input
	}
	switch e {
	case sudo.Started:
		s.input.open()
		s.sudoTurn().Accept()
	case sudo.AskedAgain:
		s.client.conn.Go(func() { s.answerAgain(filter) })
	case sudo.AskedMore:
		s.fail(errMorePasswords)
		s.client.conn.Go(s.refuseSudo)
	case sudo.Asked:
		s.client.conn.Go(func() { s.answerSudo(filter) })
	}
}

// answerSudo sends the password. It writes to the session directly, because Stdin is held back
// until the command runs.
func (s *session) answerSudo(filter *sudo.Filter) {
	password, err := s.cmd.SudoPassword(s.context(), *s.client.host)
	if err == nil {
		password, err = s.takeTurn(password)
	}
	if err == nil {
		err = s.tellSudo(password, filter)
	}
	if err != nil {
		filter.GiveUp()
		s.fail(err)
		s.refuseSudo()
	}
}

func (s *session) tellSudo(password string, filter *sudo.Filter) error {
	if s.cmd.PTY != nil {
		filter.Hide(password) // sudo may prompt before it turns off echo
	}
	_, err := s.raw.Write([]byte(password + "\n"))
	return err
}

// takeTurn waits until the password may be sent, and returns it. The command's timeout is paused
// meanwhile.
func (s *session) takeTurn(secret string) (string, error) {
	c := s.client
	user, err := c.host.login()
	if err != nil {
		return "", err
	}
	shared := c.d.passwords.Get(user, secret)
	if shared == nil {
		return secret, nil
	}
	defer s.holdTimer()()
	value, turn, err := shared.Acquire(s.context())
	if refused, ok := err.(*password.RefusedError); ok {
		err = &PasswordError{Host: c.host.name(), Port: c.host.port(), User: refused.User, Phase: PhaseSudo, RefusedBy: refused.By}
	}
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	over := s.outcome.Kind != Running
	if !over {
		s.turn = turn
	}
	s.mu.Unlock()
	if over {
		turn.Pass()
	}
	return value, nil
}

func (s *session) sudoTurn() *password.Turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn
}

// answerAgain sends sudo another password, if the refused one was the first try for all hosts
// and the user supplies a new one.
func (s *session) answerAgain(filter *sudo.Filter) {
	release := s.holdTimer()
	another, ok := s.sudoTurn().Refuse(s.context(), s.client.host.name(), s.client.d.askInstead(s.client.host, RefusedPassword{Sudo: true}))
	release()
	if ok && s.tellSudo(another, filter) == nil {
		return
	}
	s.fail(errWrongPassword)
	s.refuseSudo()
}

// leaveTurn ends the turn to try the password when sudo has ended. A sudo that neither started
// the command nor prompted again may have refused the user rather than the password.
func (s *session) leaveTurn(turn *password.Turn, said sudo.Refusal) {
	if said == sudo.WrongPassword {
		turn.Refuse(s.context(), s.client.host.name(), nil)
		return
	}
	turn.Pass()
}

// refuseSudo ends sudo's input, so that sudo gives up. A terminal does not pass on EOF: it needs
// the EOF character, Ctrl-D. If sudo has not ended after sudoGrace, refuseSudo ends the session.
func (s *session) refuseSudo() {
	if s.cmd.PTY != nil {
		_, _ = s.raw.Write([]byte{4}) // if this fails, the wait below times out
	}
	s.raw.CloseWrite()
	if !s.waitEnd(s.context(), sudoGrace) {
		s.end(Outcome{Kind: Lost}, nil)
	}
}

// sudoGrace is how long sudo may take to end without a password. sudo delays its answer to a
// wrong password by about two seconds, and a busy host takes longer.
const sudoGrace = 10 * time.Second

// fail records why the command never ran; the outcome reports it when the session ends.
func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if unsent, ok := err.(*PasswordError); ok && s.failure == nil {
		s.failure = unsent
	}
	if s.failure == nil {
		s.failure = s.sudoError(err)
	}
}

func (s *session) sudoError(err error) error {
	return &SessionError{Host: s.client.host.name(), Port: s.client.host.port(), Phase: PhaseSudo, Err: err}
}
