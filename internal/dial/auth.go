package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/gss"
	"fleetssh/internal/identity"
	"fleetssh/internal/password"
	"fleetssh/internal/sanitize"
)

const (
	// MaxAuthTries is how many keys and passwords are offered on one connection:
	// the default of MaxAuthTries in sshd, which hangs up after so many.
	MaxAuthTries = 6
	// MaxLogins is how many connections an attempt makes to offer all it has.
	MaxLogins = 4
	// maxRounds and maxPrompts bound the questions of a keyboard-interactive login.
	maxRounds, maxPrompts = 16, 16
)

// authenticator offers credentials to one host, over as many connections as it takes. The SSH
// library asks it what to try next.
type authenticator struct {
	host   *Config
	call   *Call
	broken func() bool     // reports whether the connection is broken
	ctx    context.Context // of the attempt under way
	clock  *deadline.Clock // of ctx

	creds          *identity.Credentials
	tickets        *gss.Credentials  // nil: no Kerberos
	ticket         *ticketUse        // on this connection
	kerberosShared *password.Tickets // where tickets come from
	protected      bool              // a password that hosts share is tried once
	ticketless     *Failure          // there is no ticket: the KDC has refused the password
	tellsRefusal   bool              // this host is the one that tells the refusal
	kerberos       offerState
	keys           []offer // nil before the host has said that it takes keys
	password       offerState
	questions      offerState // keyboard-interactive
	sent           bool       // the password has gone out, by whichever method

	shared *password.Shared // with other hosts; nil: each host has its own opinion of it
	turn   *password.Turn   // to try the password; nil: it is not ours
	unsent *Failure         // why the password did not go out
	reply  passwordReply
	banner *banner // of this connection

	last     *offerState // what was offered last, still without a verdict
	offered  ssh.PublicKey
	accepted []string      // methods, on this connection
	key      ssh.PublicKey // that was accepted
	partial  int           // how many methods have been accepted on this connection
	tries    int           // on this connection
	tried    []string      // on all
	notes    []error
	shown    []*identity.Identity // the keys that were offered
	badKey   *Failure             // of the first key that could not be decrypted
	warnings []string
	gaveUp   bool // the user has refused to answer

	masterless bool // no OpenSSH master has answered
}

type offer struct {
	*identity.Identity
	state offerState
}

type offerState int

const (
	untried offerState = iota
	offered
	accepted // as one of several that the host wants
	refused
)

var (
	// errRefused ends a login: nothing is left to offer.
	errRefused = errors.New("login refused")
	// errNextConnection ends a connection on which no more may be offered.
	errNextConnection = errors.New("more to offer than the host allows on one connection")
	errBroken         = errors.New("connection broken")
)

// newAuthenticator returns the authenticator for a call.
func (d *Dialer) newAuthenticator(call *Call, creds *identity.Credentials) *authenticator {
	auth := &call.Host.Auth
	l := &authenticator{host: call.Host, call: call, creds: creds, shared: d.passwords.Get(call.Host.User, auth.Password)}
	if auth.Kerberos != nil {
		l.kerberosShared, l.protected = d.Tickets(auth.Kerberos.Options), d.passwords != nil
		l.tickets, _ = l.kerberosShared.Get()
	}
	return l
}

// begin prepares for a new connection: what has been accepted is needed again,
// and what got no answer is still to be tried.
func (l *authenticator) begin(ctx context.Context, clock *deadline.Clock, w *conn.Wire) {
	l.clock = clock
	l.ctx, l.broken, l.last, l.partial, l.tries = ctx, w.Failed, nil, 0, 0
	l.banner = l.newBanner()
	l.ticket, l.offered, l.accepted, l.key = nil, nil, nil, nil
	again := func(s *offerState) {
		if *s != refused {
			*s = untried
		}
	}
	for i := range l.keys {
		again(&l.keys[i].state)
	}
	again(&l.kerberos)
	again(&l.password)
	again(&l.questions)
	l.sent = l.password == refused || l.questions == refused
}

// newBanner returns the place for what the host wants to be read on a connection.
func (l *authenticator) newBanner() *banner {
	b := new(banner)
	if tell := l.host.Auth.Tell; tell != nil {
		clock, patient := l.clock, l.host.Patient
		b.tell = func(text string) {
			if patient && clock.Limit() < signInTimeout {
				clock.Restart(signInTimeout)
			}
			tell(text)
		}
	}
	return b
}

// next returns what to offer next. It implements [ssh.ClientAuthCallback].
func (l *authenticator) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if err := deadline.Cause(l.ctx); err != nil {
		return nil, err
	}
	if l.broken() {
		return nil, errBroken
	}
	if l.ticketRefused() {
		return nil, errWithoutTicket
	}
	if l.passwordUnanswered(len(c.PartialSuccessMethods)) {
		return nil, nil
	}
	l.verdict(len(c.PartialSuccessMethods))
	if l.unsent != nil {
		return nil, errNotSent
	}
	if l.gaveUp {
		return nil, errRefused
	}
	method, name := l.choose(c.AllowedMethods)
	if l.unsent != nil {
		return nil, errNotSent
	}
	if method == nil && len(l.tried) == 0 && len(c.AllowedMethods) == 0 {
		return nil, nil // the library tells what came in place of the methods
	}
	if method == nil {
		l.explain(c.AllowedMethods)
		return nil, errRefused
	}
	if l.tries == MaxAuthTries {
		*l.last = untried
		return nil, errNextConnection
	}
	l.tries++
	l.tried = append(l.tried, name)
	return method, nil
}

// verdict records what has become of the last offer.
func (l *authenticator) verdict(partial int) {
	if l.last == nil {
		return
	}
	if !l.sentBy(l.last) {
		l.turn.Pass() // it was not needed
	}
	if partial > l.partial {
		l.partial = partial
		*l.last = accepted
		l.accepted = append(l.accepted, l.tried[len(l.tried)-1])
		if l.offered != nil {
			l.key = l.offered
		}
		if l.sentBy(l.last) {
			l.turn.Accept()
		}
		l.sent = false // what comes now is a second factor
	} else {
		*l.last = refused
		l.refusedPassword(l.last)
		if l.last == &l.kerberos {
			l.explainTicket()
		}
	}
	l.last = nil
}

// hungUp records that the host has ended the connection after refusing what was offered. It
// reports whether there is more to offer on another.
func (l *authenticator) hungUp() bool {
	if l.last != nil {
		*l.last = refused
		l.refusedPassword(l.last)
		l.last = nil
	}
	left := func(s offerState) bool { return s == untried }
	if slices.ContainsFunc(l.keys, func(o offer) bool { return left(o.state) }) {
		return true
	}
	return l.host.Auth.Password != "" && !l.sent
}

// choose returns the first method that is left and that the host allows.
func (l *authenticator) choose(allowed []string) (ssh.AuthMethod, string) {
	a := &l.host.Auth
	l.offered = nil
	if len(a.Methods) > 0 {
		allowed = slices.DeleteFunc(slices.Clone(allowed), func(name string) bool { return !slices.Contains(a.Methods, name) })
	}
	if slices.Contains(allowed, "gssapi-with-mic") && l.hasTicket() {
		l.offer(&l.kerberos)
		return l.nextTicket(), "gssapi-with-mic"
	}
	if slices.Contains(allowed, "publickey") {
		if o := l.nextKey(); o != nil {
			l.offer(&o.state)
			l.offered = o.Signer.PublicKey()
			l.shown = append(l.shown, o.Identity)
			return ssh.PublicKeys(l.noting(o)), "publickey"
		}
	}
	if l.ticketless != nil && a.Password == "" {
		return nil, "" // the user has been asked for another password, once for all hosts
	}
	hasPassword := a.Password != "" && !l.sent
	// With somebody to ask, the host may put its own questions; a bare password
	// goes the direct way, and the same one is not sent twice.
	interactive := l.questions == untried && slices.Contains(allowed, "keyboard-interactive")
	if interactive && a.Ask != nil {
		if !l.mayAnswer() {
			return nil, ""
		}
		l.offer(&l.questions)
		return ssh.KeyboardInteractive(l.answerer()), "keyboard-interactive"
	}
	if l.password == untried && slices.Contains(allowed, "password") && (hasPassword || a.Ask != nil) {
		l.offer(&l.password)
		return l.passwordMethod(), "password"
	}
	if interactive && hasPassword {
		if !l.mayAnswer() {
			return nil, ""
		}
		l.offer(&l.questions)
		return ssh.KeyboardInteractive(l.answerer()), "keyboard-interactive"
	}
	return nil, ""
}

func (l *authenticator) offer(s *offerState) {
	*s = offered
	l.last = s
}

func (l *authenticator) nextKey() *offer {
	if l.keys == nil {
		l.keys = []offer{}
		for _, id := range l.creds.All(func() context.Context { return l.ctx }) {
			l.keys = append(l.keys, offer{Identity: id})
		}
	}
	for i := range l.keys {
		if o := &l.keys[i]; o.state == untried && l.ready(o) {
			return o
		}
	}
	return nil
}

// ready decrypts the key to offer, if nothing at all is known of it before. One that
// cannot be decrypted is not offered.
func (l *authenticator) ready(o *offer) bool {
	if o.Signer != nil {
		return true
	}
	defer l.clock.Pause()()
	err := o.Open()
	if err != nil {
		o.state = refused
		l.noteKey(err)
	}
	return err == nil
}

// noteKey records why a key does not sign.
func (l *authenticator) noteKey(err error) {
	err = KeyFileFailure(l.host.Name, err)
	if f, ok := err.(*Failure); ok && l.badKey == nil {
		l.badKey = f
	}
	l.notes = append(l.notes, err)
}

// secret returns the password: the one given, unless it has been refused, or the
// answer of the user.
func (l *authenticator) secret() (string, error) {
	a := &l.host.Auth
	if a.Password != "" && !l.sent {
		return l.givenPassword()
	}
	if a.Ask == nil {
		return "", errRefused
	}
	prompt := fmt.Sprintf("%s@%s's password: ", l.host.User, l.host.Name)
	return l.ask(Question{Prompt: prompt})
}

// ask puts a question to the user. One who refuses to answer is not asked again.
func (l *authenticator) ask(q Question) (string, error) {
	l.banner.now()
	defer l.clock.Pause()()
	answer, err := l.host.Auth.Ask(l.ctx, q)
	if err != nil {
		l.gaveUp = true
		return "", l.note("%w", err)
	}
	return answer, nil
}

// notingSigner records why a key does not sign: the SSH library does not tell, and goes on to
// the next method.
type notingSigner struct {
	ssh.MultiAlgorithmSigner
	auth *authenticator
	asks bool // signing may ask the user
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (s *notingSigner) Algorithms() []string {
	return s.auth.host.Algorithms.Signatures(s.PublicKey(), s.MultiAlgorithmSigner.Algorithms())
}

// noting returns the signer of o as a notingSigner, if it may fail.
func (l *authenticator) noting(o *offer) ssh.Signer {
	if s, ok := o.Signer.(ssh.MultiAlgorithmSigner); ok {
		return &notingSigner{s, l, o.Asks}
	}
	return o.Signer
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (s *notingSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if s.asks {
		defer s.auth.clock.Pause()()
	}
	sig, err := s.MultiAlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	if err != nil {
		s.auth.noteKey(err)
	}
	return sig, err
}

// answerer returns a function that answers the questions of one
// keyboard-interactive login, in any number of rounds.
func (l *authenticator) answerer() ssh.KeyboardInteractiveChallenge {
	rounds := 0
	return func(name, instruction string, prompts []string, echos []bool) ([]string, error) {
		if rounds++; rounds > maxRounds || len(prompts) > maxPrompts {
			return nil, l.note("the host asks too much (round %d, %d questions)", rounds, len(prompts))
		}
		if len(prompts) == 0 {
			l.banner.add(name + "\n" + instruction)
		}
		answers := make([]string, len(prompts))
		for i, prompt := range prompts {
			answer, err := l.answer(instruction, prompt, echos[i])
			if err != nil {
				return nil, err
			}
			answers[i] = answer
		}
		return answers, nil
	}
}

// answer answers one question: the password goes to the first that must not be
// shown and asks for one; without anybody to ask, to the first that must not be
// shown.
func (l *authenticator) answer(instruction, prompt string, echo bool) (string, error) {
	a := &l.host.Auth
	asksForIt := a.Ask == nil || strings.Contains(strings.ToLower(prompt), "password")
	if a.Password != "" && !l.sent && !echo && asksForIt {
		return l.givenPassword()
	}
	if a.Ask == nil {
		return "", l.note(`no answer to the question "%s"`, sanitize.Line(prompt))
	}
	if instruction != "" {
		prompt = strings.TrimSuffix(instruction, "\n") + "\n" + prompt
	}
	return l.ask(Question{Prompt: prompt, Echo: echo})
}
