package dial

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/password"
)

// errNotSent ends a login because the password it has come to is known to be wrong.
var errNotSent = errors.New("the password is not sent")

// givenPassword returns the password to send, when it may be sent.
func (l *authenticator) givenPassword() (string, error) {
	password, err := l.takeTurn()
	if err == nil {
		l.sent = true
	}
	return password, err
}

// mayAnswer waits until the password may be sent, before a host begins to ask questions:
// to break them off may count as a failed login there.
func (l *authenticator) mayAnswer() bool {
	if l.host.Auth.Password == "" || l.sent {
		return true
	}
	_, err := l.takeTurn()
	return err == nil
}

// takeTurn returns the password when it may be sent.
func (l *authenticator) takeTurn() (string, error) {
	if l.shared == nil {
		return l.host.Auth.Password, nil
	}
	if value, ok := l.turn.Value(); ok {
		return value, nil
	}
	defer l.clock.Pause()()
	l.call.enter("password")
	defer l.call.enter("auth")
	value, turn, err := l.shared.Acquire(l.ctx)
	l.turn = turn
	if refused, ok := err.(*password.RefusedError); ok {
		f := l.host.failure(PasswordWithheld, "auth", refused)
		f.User, f.RefusedBy = refused.User, refused.By
		l.unsent, err = f, f
	}
	return value, err
}

// sentBy reports whether the password went out with an offer.
func (l *authenticator) sentBy(offer *offerState) bool {
	return l.sent && (offer == &l.password || offer == &l.questions)
}

// refusedPassword records that the host has refused an offer. If it was of the password,
// and the user gives another, that is tried next.
func (l *authenticator) refusedPassword(offer *offerState) {
	if l.turn == nil || !l.sentBy(offer) {
		return
	}
	defer l.clock.Pause()()
	if _, ok := l.turn.Refuse(l.ctx, l.host.Name, l.host.Auth.AskAgain); ok {
		*offer, l.sent = untried, false
	} else if l.host.Auth.AskAgain != nil {
		l.gaveUp = true // the user has been asked
	}
}

// leavePassword passes the turn to try the password on, if the connection has ended
// without a verdict.
func (l *authenticator) leavePassword(err error) {
	if hasKind(err, TimedOut) {
		l.turn.TimedOut()
		return
	}
	l.turn.Pass()
}

// passwordReply is what is known of the host's answer to a password.
type passwordReply int

const (
	noReply    passwordReply = iota // none that the SSH library understands
	notOffered                      // the password did not go out
	saidNo
)

// passwordMethod returns the method that sends the password. The library keeps to itself
// whether a host has refused it or has answered something else, but it asks for another
// only if it was refused.
func (l *authenticator) passwordMethod() ssh.AuthMethod {
	calls := 0
	l.reply = notOffered
	return ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
		if calls++; calls > 1 {
			l.reply = saidNo
			return "", errRefused
		}
		password, err := l.secret()
		if err == nil {
			l.reply = noReply
		}
		return password, err
	}), 2)
}

// passwordUnanswered reports whether the host has answered a password with something that
// is neither yes nor no. Nothing else can be offered then, and the library tells what it
// was when nothing is.
func (l *authenticator) passwordUnanswered(partial int) bool {
	return l.last == &l.password && l.reply == noReply && partial == l.partial
}

// wantsNewPassword reports whether a login has ended because the host wants the user to
// change the password: it has answered with message 60 (RFC 4252, section 8), which no
// host does to a wrong one.
func (l *authenticator) wantsNewPassword(err error) bool {
	if l.last != &l.password || l.reply != noReply || !strings.Contains(err.Error(), "unexpected message type 60 ") {
		return false
	}
	l.turn.Accept()
	return true
}
