package dial

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/password"
)

// errWithheld ends a login in which the next offer would be a password known to be wrong.
var errWithheld = errors.New("the password is not sent")

// givenPassword waits until the password may be sent, and returns it.
func (a *authenticator) givenPassword() (string, error) {
	password, err := a.takeTurn()
	if err == nil {
		a.sent = true
	}
	return password, err
}

// mayAnswer waits until the password may be sent, and reports whether it may. It is called before
// keyboard-interactive begins: hosts may count a dialogue that is broken off as a failed login.
func (a *authenticator) mayAnswer() bool {
	if a.host.Auth.Password == "" || a.sent {
		return true
	}
	_, err := a.takeTurn()
	return err == nil
}

// takeTurn waits until this host may try the password, and returns the password.
func (a *authenticator) takeTurn() (string, error) {
	if a.shared == nil {
		return a.host.Auth.Password, nil
	}
	if value, ok := a.turn.Value(); ok {
		return value, nil
	}
	defer a.clock.Pause()()
	a.call.enter(phasePassword)
	defer a.call.enter(phaseAuth)
	value, turn, err := a.shared.Acquire(a.ctx)
	a.turn = turn
	if refused, ok := err.(*password.RefusedError); ok {
		f := a.host.failure(PasswordWithheld, phaseAuth, refused)
		f.User, f.RefusedBy = refused.User, refused.By
		a.withheld, err = f, f
	}
	return value, err
}

// sentBy reports whether an offer sent the password.
func (a *authenticator) sentBy(offer *offerState) bool {
	return a.sent && (offer == &a.password || offer == &a.questions)
}

// refusedPassword records that the host refused an offer. If the offer sent the shared password and
// the user enters another one, the login tries that next.
func (a *authenticator) refusedPassword(offer *offerState) {
	if a.turn == nil || !a.sentBy(offer) {
		return
	}
	defer a.clock.Pause()()
	if _, ok := a.turn.Refuse(a.ctx, a.host.Name, a.host.Auth.AskAgain); ok {
		*offer, a.sent = untried, false
	} else if a.host.Auth.AskAgain != nil {
		a.declined = true // the user was asked for another password and gave none
	}
}

// leavePassword ends the turn to try the password on a connection that ended before the host
// accepted or refused it.
func (a *authenticator) leavePassword(err error) {
	if hasKind(err, TimedOut) {
		a.turn.TimedOut()
		return
	}
	a.turn.Pass()
}

// passwordReply says what is known of the host's answer to the password.
type passwordReply int

const (
	replyUnknown passwordReply = iota // the password was sent; no refusal is known
	notSent                           // the password was not sent
	replyRefused
)

// passwordMethod returns the method that sends the password. The SSH library does not report
// whether the host refused the password or answered something else. But it asks for a second
// password only if the host refused the first.
func (a *authenticator) passwordMethod() ssh.AuthMethod {
	calls := 0
	a.reply = notSent
	return ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
		if calls++; calls > 1 {
			a.reply = replyRefused
			return "", errRefused
		}
		password, err := a.secret()
		if err == nil {
			a.reply = replyUnknown
		}
		return password, err
	}), 2)
}

// passwordUnanswered reports whether the host answered the password with a message that is neither
// success nor failure. No other method can be tried then, and next returns none: the SSH library
// then reports the message.
func (a *authenticator) passwordUnanswered(partial int) bool {
	return a.last == &a.password && a.reply == replyUnknown && partial == a.partial
}

// wantsNewPassword reports whether a login failed because the host wants the password changed. The
// host answers with message 60 then (RFC 4252, section 8), which no host sends for a wrong
// password.
func (a *authenticator) wantsNewPassword(err error) bool {
	if a.last != &a.password || a.reply != replyUnknown || !strings.Contains(err.Error(), "unexpected message type 60 ") {
		return false
	}
	a.turn.Accept()
	return true
}
