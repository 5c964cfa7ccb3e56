package dial

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/password"
)

// errNotSent ends a login whose next offer is a password that is known to be wrong.
var errNotSent = errors.New("the password is not sent")

// givenPassword waits until the password may be sent, and returns it.
func (a *authenticator) givenPassword() (string, error) {
	password, err := a.takeTurn()
	if err == nil {
		a.sent = true
	}
	return password, err
}

// mayAnswer waits until the password may be sent, before the host begins to ask questions: hosts
// may count a dialogue that is broken off as a failed login.
func (a *authenticator) mayAnswer() bool {
	if a.host.Auth.Password == "" || a.sent {
		return true
	}
	_, err := a.takeTurn()
	return err == nil
}

// takeTurn waits for the turn to try the password, and returns it.
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
		a.unsent, err = f, f
	}
	return value, err
}

// sentBy reports whether the password went out with an offer.
func (a *authenticator) sentBy(offer *offerState) bool {
	return a.sent && (offer == &a.password || offer == &a.questions)
}

// refusedPassword records that the host has refused an offer. If the offer was the password and the
// user gives another, the login tries that next.
func (a *authenticator) refusedPassword(offer *offerState) {
	if a.turn == nil || !a.sentBy(offer) {
		return
	}
	defer a.clock.Pause()()
	if _, ok := a.turn.Refuse(a.ctx, a.host.Name, a.host.Auth.AskAgain); ok {
		*offer, a.sent = untried, false
	} else if a.host.Auth.AskAgain != nil {
		a.gaveUp = true // the user has been asked
	}
}

// leavePassword passes on the turn to try the password, if the connection has ended without a
// verdict.
func (a *authenticator) leavePassword(err error) {
	if hasKind(err, TimedOut) {
		a.turn.TimedOut()
		return
	}
	a.turn.Pass()
}

// passwordReply is what is known of the host's answer to a password.
type passwordReply int

const (
	noReply    passwordReply = iota // none that the SSH library understands
	notOffered                      // the password did not go out
	saidNo
)

// passwordMethod returns the method that sends the password. The SSH library does not tell whether
// the host has refused the password or has answered something else, but it asks for another
// password only if the host has refused the first.
func (a *authenticator) passwordMethod() ssh.AuthMethod {
	calls := 0
	a.reply = notOffered
	return ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
		if calls++; calls > 1 {
			a.reply = saidNo
			return "", errRefused
		}
		password, err := a.secret()
		if err == nil {
			a.reply = noReply
		}
		return password, err
	}), 2)
}

// passwordUnanswered reports whether the host has answered a password with something other than
// yes or no. Nothing else can be offered then; when nothing is, the SSH library tells what the
// answer was.
func (a *authenticator) passwordUnanswered(partial int) bool {
	return a.last == &a.password && a.reply == noReply && partial == a.partial
}

// wantsNewPassword reports whether a login has ended because the host wants the user to change the
// password. It has answered with message 60 then (RFC 4252, section 8), which no host sends for a
// wrong password.
func (a *authenticator) wantsNewPassword(err error) bool {
	if a.last != &a.password || a.reply != noReply || !strings.Contains(err.Error(), "unexpected message type 60 ") {
		return false
	}
	a.turn.Accept()
	return true
}
