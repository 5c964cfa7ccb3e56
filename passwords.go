package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/deadline"
)

// passwords holds what has become of the passwords that the hosts of one client share.
// One that is wrong reaches a single host: where accounts are kept centrally, every
// refusal counts, and a few lock the account.
type passwords struct {
	again func(context.Context, RefusedPassword) (string, error) // nil: nobody is asked

	mu     sync.Mutex // protects what follows
	shared map[passwordID]*sharedPassword
}

type passwordID struct{ user, value string }

// RefusedPassword says which password was refused, to [ParallelClient.AskAgain].
type RefusedPassword struct {
	Host     HostConfig // that has refused it
	User     string     // whose password it is
	Sudo     bool       // it was sudo that has refused it
	Kerberos bool       // it was the KDC that has refused it, while Host was logged in to
	Try      int        // how many have been refused so far
}

// mostPasswords is how many passwords are tried until the hosts that share one are given
// up, as ssh's NumberOfPasswordPrompts.
const mostPasswords = 3

// of returns the password as the hosts share it, nil if that does not matter.
func (p *passwords) of(user, value string) *sharedPassword {
	if p == nil || value == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := passwordID{user, value}
	s := p.shared[id]
	if s == nil {
		if p.shared == nil {
			p.shared = make(map[passwordID]*sharedPassword)
		}
		s = &sharedPassword{all: p, user: user, value: value, most: 1, tries: 1}
		p.shared[id] = s
	}
	return s
}

// sharedPassword is a password that hosts share, or the one that the user has given in
// its place. It goes to one host first; the others wait for what that makes of it.
type sharedPassword struct {
	all  *passwords
	user string

	mu      sync.Mutex // protects what follows
	value   string
	tries   int    // how many values there have been
	good    bool   // a host has accepted it
	refused string // the host that has refused the last one
	active  int    // hosts that are trying it
	most    int    // how many may at once
	silent  int    // how many have not answered in time
	queue   []chan struct{}
}

// passwordTurn is the turn to try a password on a host. It ends with one of its methods;
// the nil turn is that of a password known to be good, whose verdict changes nothing.
type passwordTurn struct {
	shared *sharedPassword

	// protected by the mu of shared
	value  string
	asking bool // the user is asked for another: the password was refused
	over   bool
}

// mine returns the password to try, as long as the turn is not over.
func (t *passwordTurn) mine() (value string, ok bool) {
	if t == nil {
		return "", false
	}
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	return t.value, !t.over
}

// take returns the password when it may be sent, with the turn if it is this host's to
// try it. The error is a [*PasswordError], without the
// host, or that of ctx.
func (s *sharedPassword) take(ctx context.Context) (value string, turn *passwordTurn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.good:
			return s.value, nil, nil
		case s.refused != "":
			return "", nil, &PasswordError{User: s.user, RefusedBy: s.refused}
		case s.active < s.most:
			s.active++
			return s.value, &passwordTurn{shared: s, value: s.value}, nil
		}
		next := make(chan struct{})
		s.queue = append(s.queue, next)
		s.mu.Unlock()
		select {
		case <-next:
			s.mu.Lock()
		case <-ctx.Done():
			s.mu.Lock()
			if i := slices.Index(s.queue, next); i >= 0 {
				s.queue = slices.Delete(s.queue, i, i+1)
			} else {
				s.wake(1) // it has just been our turn
			}
			return "", nil, deadline.Cause(ctx)
		}
	}
}

// wake lets so many of those who wait look again. s.mu is held.
func (s *sharedPassword) wake(n int) {
	n = min(n, len(s.queue))
	for _, next := range s.queue[:n] {
		close(next)
	}
	s.queue = slices.Delete(s.queue, 0, n)
}

// end notes that the host is done with it, and what it says.
func (t *passwordTurn) end(verdict func(s *sharedPassword)) {
	if t == nil {
		return
	}
	s := t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.over || t.asking {
		return
	}
	t.over = true
	s.active--
	verdict(s)
	if s.good || s.refused != "" {
		s.wake(len(s.queue))
		return
	}
	s.wake(s.most - s.active)
}

// accepted notes that the host takes the password: it may go to all.
func (t *passwordTurn) accepted() {
	t.end(func(s *sharedPassword) {
		if t.value == s.value {
			s.good, s.refused = true, ""
		}
	})
}

// pass leaves the turn to the next host: this one could not tell.
func (t *passwordTurn) pass() { t.end(func(*sharedPassword) {}) }

// silent passes the turn on because the host has not answered in time. Where several have
// not, more hosts at once are asked each time: hundreds of them, one after another, would
// take hours.
func (t *passwordTurn) silent() {
	const patience = 3
	t.end(func(s *sharedPassword) {
		if s.silent++; s.silent >= patience {
			s.most *= 2
		}
	})
}

// refuse notes that the host does not take the password. If somebody gives another, it
// returns that, and the turn goes on.
func (t *passwordTurn) refuse(ctx context.Context, by RefusedPassword, ask func(context.Context, RefusedPassword) (string, error)) (another string, ok bool) {
	if t == nil {
		return "", false
	}
	s := t.shared
	s.mu.Lock()
	by.User, by.Try = s.user, s.tries
	late := s.good || s.refused != "" || t.value != s.value // others were quicker
	t.asking = !t.over && !late && ask != nil && by.Try < mostPasswords
	asking := t.asking
	s.mu.Unlock()
	if asking {
		another, err := ask(ctx, by)
		s.mu.Lock()
		t.asking = false
		if err == nil && another != "" {
			s.value, t.value = another, another
			s.tries++
			s.mu.Unlock()
			return another, true
		}
		s.mu.Unlock()
	}
	t.end(func(s *sharedPassword) {
		if !late {
			s.refused = by.Host.name()
		}
	})
	return "", false
}

// errNotSent ends a login because the password it has come to is known to be wrong.
var errNotSent = errors.New("the password is not sent")

// asker returns how another password is asked for when host has refused one.
func (p *passwords) asker(a *Auth) func(context.Context, RefusedPassword) (string, error) {
	if p == nil {
		return nil
	}
	ask := p.again
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
	if value, ok := l.turn.mine(); ok {
		return value, nil
	}
	defer l.clock.Pause()()
	l.work.enter("password")
	defer l.work.enter("auth")
	value, turn, err := l.shared.take(l.ctx)
	l.turn = turn
	if unsent, ok := err.(*PasswordError); ok {
		unsent.Host, unsent.Port, unsent.Op = l.host.name(), l.host.port(), "auth"
		l.unsent = unsent
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
	if _, ok := l.turn.refuse(l.ctx, RefusedPassword{Host: *l.host}, l.asks); ok {
		*offer, l.sent = untried, false
	} else if l.asks != nil {
		l.gaveUp = true // the user has been asked
	}
}

// leavePassword passes the turn to try the password on, if the connection has ended
// without a verdict.
func (l *login) leavePassword(err error) {
	if timedOut(err) {
		l.turn.silent()
		return
	}
	l.turn.pass()
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
	l.turn.accepted()
	return true
}
