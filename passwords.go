package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/deadline"
	"fleetssh/internal/dial"
	"fleetssh/internal/password"
)

// RefusedPassword says which password was refused, to [ParallelClient.AskAgain].
type RefusedPassword struct {
	Host     HostConfig // that has refused it
	User     string     // whose password it is
	Sudo     bool       // it was sudo that has refused it
	Kerberos bool       // it was the KDC that has refused it, while Host was logged in to
	Try      int        // how many have been refused so far
}

// ask returns how another password is asked for in place of r, which lacks the user and
// the number of tries; nil if nobody is asked.
func (r RefusedPassword) ask(asks func(context.Context, RefusedPassword) (string, error)) password.Prompt {
	if asks == nil {
		return nil
	}
	return func(ctx context.Context, user string, try int) (string, error) {
		r.User, r.Try = user, try
		return asks(ctx, r)
	}
}

// errNotSent ends a login because the password it has come to is known to be wrong.
var errNotSent = errors.New("the password is not sent")

// asker returns how another password is asked for when host has refused one.
func (d *dialer) asker(a *Auth) func(context.Context, RefusedPassword) (string, error) {
	if d.passwords == nil {
		return nil
	}
	ask := d.askAgain
	if ask == nil && a.Ask != nil {
		ask = func(ctx context.Context, r RefusedPassword) (string, error) {
			if r.Kerberos {
				return a.Ask(ctx, Question{Host: r.Host.name(), Prompt: fmt.Sprintf("The KDC has refused the password of %s. Another for all hosts: ", r.User)})
			}
			return a.Ask(ctx, Question{Host: r.Host.name(), Prompt: fmt.Sprintf("%s has refused the password of %s. Another for all hosts: ", r.Host.name(), r.User)})
		}
	}
	if ask == nil {
		return nil
	}
	return func(ctx context.Context, r RefusedPassword) (string, error) {
		select {
		case asking <- struct{}{}:
			defer func() { <-asking }()
		case <-ctx.Done():
			return "", deadline.Cause(ctx)
		}
		return ask(ctx, r)
	}
}

// givenPassword returns the password to send, when it may be sent.
func (l *login) givenPassword() (string, error) {
	password, err := l.takeTurn()
	if err == nil {
		l.sent = true
	}
	return password, err
}

// mayAnswer waits until the password may be sent, before a host begins to ask questions:
// to break them off may count as a failed login there.
func (l *login) mayAnswer() bool {
	if l.host.Auth.Password == "" || l.sent {
		return true
	}
	_, err := l.takeTurn()
	return err == nil
}

// takeTurn returns the password when it may be sent.
func (l *login) takeTurn() (string, error) {
	if l.shared == nil {
		return l.host.Auth.Password, nil
	}
	if value, ok := l.turn.Value(); ok {
		return value, nil
	}
	defer l.clock.Pause()()
	l.work.enter("password")
	defer l.work.enter("auth")
	value, turn, err := l.shared.Acquire(l.ctx)
	l.turn = turn
	if refused, ok := err.(*password.RefusedError); ok {
		f := l.host.failure(dial.PasswordWithheld, "auth", refused)
		f.User, f.RefusedBy = refused.User, refused.By
		l.unsent, err = f, f
	}
	return value, err
}

// sentBy reports whether the password went out with an offer.
func (l *login) sentBy(offer *offerState) bool {
	return l.sent && (offer == &l.password || offer == &l.questions)
}

// refusedPassword notes that the host has refused an offer. If it was of the password,
// and the user gives another, that is tried next.
func (l *login) refusedPassword(offer *offerState) {
	if l.turn == nil || !l.sentBy(offer) {
		return
	}
	defer l.clock.Pause()()
	if _, ok := l.turn.Refuse(l.ctx, l.host.name(), RefusedPassword{Host: *l.host}.ask(l.asks)); ok {
		*offer, l.sent = untried, false
	} else if l.asks != nil {
		l.gaveUp = true // the user has been asked
	}
}

// leavePassword passes the turn to try the password on, if the connection has ended
// without a verdict.
func (l *login) leavePassword(err error) {
	if dial.HasKind(err, dial.TimedOut) {
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
func (l *login) passwordMethod() ssh.AuthMethod {
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
func (l *login) passwordUnanswered(partial int) bool {
	return l.last == &l.password && l.reply == noReply && partial == l.partial
}

// wantsNewPassword reports whether a login has ended because the host wants the user to
// change the password: it has answered with message 60 (RFC 4252, section 8), which no
// host does to a wrong one.
func (l *login) wantsNewPassword(err error) bool {
	if l.last != &l.password || l.reply != noReply || !strings.Contains(err.Error(), "unexpected message type 60 ") {
		return false
	}
	l.turn.Accept()
	return true
}
