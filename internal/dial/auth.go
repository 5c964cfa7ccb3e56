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
	a := &authenticator{host: call.Host, call: call, creds: creds, shared: d.passwords.Get(call.Host.User, auth.Password)}
	if auth.Kerberos != nil {
		a.kerberosShared, a.protected = d.Tickets(auth.Kerberos.Options), d.passwords != nil
		a.tickets, _ = a.kerberosShared.Get()
	}
	return a
}

// begin prepares for a new connection: the host wants again what it has accepted, and what it
// has not answered is still to be tried.
func (a *authenticator) begin(ctx context.Context, clock *deadline.Clock, w *conn.Wire) {
	a.clock = clock
	a.ctx, a.broken, a.last, a.partial, a.tries = ctx, w.Failed, nil, 0, 0
	a.banner = a.newBanner()
	a.ticket, a.offered, a.accepted, a.key = nil, nil, nil, nil
	again := func(s *offerState) {
		if *s != refused {
			*s = untried
		}
	}
	for i := range a.keys {
		again(&a.keys[i].state)
	}
	again(&a.kerberos)
	again(&a.password)
	again(&a.questions)
	a.sent = a.password == refused || a.questions == refused
}

// newBanner returns an empty banner for a connection.
func (a *authenticator) newBanner() *banner {
	b := new(banner)
	if tell := a.host.Auth.Tell; tell != nil {
		clock, patient := a.clock, a.host.Patient
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
func (a *authenticator) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if err := deadline.Cause(a.ctx); err != nil {
		return nil, err
	}
	if a.broken() {
		return nil, errBroken
	}
	if a.ticketRefused() {
		return nil, errWithoutTicket
	}
	if a.passwordUnanswered(len(c.PartialSuccessMethods)) {
		return nil, nil
	}
	a.verdict(len(c.PartialSuccessMethods))
	if a.unsent != nil {
		return nil, errNotSent
	}
	if a.gaveUp {
		return nil, errRefused
	}
	method, name := a.choose(c.AllowedMethods)
	if a.unsent != nil {
		return nil, errNotSent
	}
	if method == nil && len(a.tried) == 0 && len(c.AllowedMethods) == 0 {
		return nil, nil // the SSH library tells what came in place of the methods
	}
	if method == nil {
		a.explain(c.AllowedMethods)
		return nil, errRefused
	}
	if a.tries == MaxAuthTries {
		*a.last = untried
		return nil, errNextConnection
	}
	a.tries++
	a.tried = append(a.tried, name)
	return method, nil
}

// verdict records what has become of the last offer.
func (a *authenticator) verdict(partial int) {
	if a.last == nil {
		return
	}
	if !a.sentBy(a.last) {
		a.turn.Pass() // it was not needed
	}
	if partial > a.partial {
		a.partial = partial
		*a.last = accepted
		a.accepted = append(a.accepted, a.tried[len(a.tried)-1])
		if a.offered != nil {
			a.key = a.offered
		}
		if a.sentBy(a.last) {
			a.turn.Accept()
		}
		a.sent = false // what comes now is a second factor
	} else {
		*a.last = refused
		a.refusedPassword(a.last)
		if a.last == &a.kerberos {
			a.explainTicket()
		}
	}
	a.last = nil
}

// hungUp records that the host has ended the connection after refusing what was offered. It
// reports whether there is more to offer on another.
func (a *authenticator) hungUp() bool {
	if a.last != nil {
		*a.last = refused
		a.refusedPassword(a.last)
		a.last = nil
	}
	left := func(s offerState) bool { return s == untried }
	if slices.ContainsFunc(a.keys, func(o offer) bool { return left(o.state) }) {
		return true
	}
	return a.host.Auth.Password != "" && !a.sent
}

// choose returns the first method that is left and that the host allows.
func (a *authenticator) choose(allowed []string) (ssh.AuthMethod, string) {
	auth := &a.host.Auth
	a.offered = nil
	if len(auth.Methods) > 0 {
		allowed = slices.DeleteFunc(slices.Clone(allowed), func(name string) bool { return !slices.Contains(auth.Methods, name) })
	}
	if slices.Contains(allowed, "gssapi-with-mic") && a.hasTicket() {
		a.offer(&a.kerberos)
		return a.nextTicket(), "gssapi-with-mic"
	}
	if slices.Contains(allowed, "publickey") {
		if o := a.nextKey(); o != nil {
			a.offer(&o.state)
			a.offered = o.Signer.PublicKey()
			a.shown = append(a.shown, o.Identity)
			return ssh.PublicKeys(a.recording(o)), "publickey"
		}
	}
	if a.ticketless != nil && auth.Password == "" {
		return nil, "" // the user has been asked for another password, once for all hosts
	}
	hasPassword := auth.Password != "" && !a.sent
	// If there is somebody to ask, the host may put its own questions first. A password
	// alone goes the direct way. The same one is not sent twice.
	interactive := a.questions == untried && slices.Contains(allowed, "keyboard-interactive")
	if interactive && auth.Ask != nil {
		if !a.mayAnswer() {
			return nil, ""
		}
		a.offer(&a.questions)
		return ssh.KeyboardInteractive(a.answerer()), "keyboard-interactive"
	}
	if a.password == untried && slices.Contains(allowed, "password") && (hasPassword || auth.Ask != nil) {
		a.offer(&a.password)
		return a.passwordMethod(), "password"
	}
	if interactive && hasPassword {
		if !a.mayAnswer() {
			return nil, ""
		}
		a.offer(&a.questions)
		return ssh.KeyboardInteractive(a.answerer()), "keyboard-interactive"
	}
	return nil, ""
}

func (a *authenticator) offer(s *offerState) {
	*s = offered
	a.last = s
}

func (a *authenticator) nextKey() *offer {
	if a.keys == nil {
		a.keys = []offer{}
		for _, id := range a.creds.All(func() context.Context { return a.ctx }) {
			a.keys = append(a.keys, offer{Identity: id})
		}
	}
	for i := range a.keys {
		if o := &a.keys[i]; o.state == untried && a.ready(o) {
			return o
		}
	}
	return nil
}

// ready decrypts the key to offer if not even its public half is known. A key that cannot be
// decrypted is not offered.
func (a *authenticator) ready(o *offer) bool {
	if o.Signer != nil {
		return true
	}
	defer a.clock.Pause()()
	err := o.Open()
	if err != nil {
		o.state = refused
		a.recordKey(err)
	}
	return err == nil
}

// recordKey records why a key does not sign.
func (a *authenticator) recordKey(err error) {
	err = keyFileFailure(a.host.Name, err)
	if f, ok := err.(*Failure); ok && a.badKey == nil {
		a.badKey = f
	}
	a.notes = append(a.notes, err)
}

// secret returns the password: the one given, or the answer of the user if that has been
// refused or there is none.
func (a *authenticator) secret() (string, error) {
	auth := &a.host.Auth
	if auth.Password != "" && !a.sent {
		return a.givenPassword()
	}
	if auth.Ask == nil {
		return "", errRefused
	}
	prompt := fmt.Sprintf("%s@%s's password: ", a.host.User, a.host.Name)
	return a.ask(Question{Prompt: prompt})
}

// ask puts a question to the user. A user who refuses to answer is not asked again.
func (a *authenticator) ask(q Question) (string, error) {
	a.banner.now()
	defer a.clock.Pause()()
	answer, err := a.host.Auth.Ask(a.ctx, q)
	if err != nil {
		a.gaveUp = true
		return "", a.record("%w", err)
	}
	return answer, nil
}

// recordingSigner records why a key does not sign: the SSH library does not tell, and goes on to
// the next method.
type recordingSigner struct {
	ssh.MultiAlgorithmSigner
	auth *authenticator
	asks bool // signing may ask the user
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (s *recordingSigner) Algorithms() []string {
	return s.auth.host.Algorithms.Signatures(s.PublicKey(), s.MultiAlgorithmSigner.Algorithms())
}

// recording returns the signer of o, as a recordingSigner if it may fail.
func (a *authenticator) recording(o *offer) ssh.Signer {
	if s, ok := o.Signer.(ssh.MultiAlgorithmSigner); ok {
		return &recordingSigner{s, a, o.Asks}
	}
	return o.Signer
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (s *recordingSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if s.asks {
		defer s.auth.clock.Pause()()
	}
	sig, err := s.MultiAlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	if err != nil {
		s.auth.recordKey(err)
	}
	return sig, err
}

// answerer returns a function that answers the questions of one keyboard-interactive login, in
// at most maxRounds rounds.
func (a *authenticator) answerer() ssh.KeyboardInteractiveChallenge {
	rounds := 0
	return func(name, instruction string, prompts []string, echos []bool) ([]string, error) {
		if rounds++; rounds > maxRounds || len(prompts) > maxPrompts {
			return nil, a.record("the host asks too much (round %d, %d questions)", rounds, len(prompts))
		}
		if len(prompts) == 0 {
			a.banner.add(name + "\n" + instruction)
		}
		answers := make([]string, len(prompts))
		for i, prompt := range prompts {
			answer, err := a.answer(instruction, prompt, echos[i])
			if err != nil {
				return nil, err
			}
			answers[i] = answer
		}
		return answers, nil
	}
}

// answer answers one question. The password goes to the first question whose answer must not be
// shown and that asks for a password; if there is nobody to ask, to the first whose answer must
// not be shown.
func (a *authenticator) answer(instruction, prompt string, echo bool) (string, error) {
	auth := &a.host.Auth
	asksForIt := auth.Ask == nil || strings.Contains(strings.ToLower(prompt), "password")
	if auth.Password != "" && !a.sent && !echo && asksForIt {
		return a.givenPassword()
	}
	if auth.Ask == nil {
		return "", a.record(`no answer to the question "%s"`, sanitize.Line(prompt))
	}
	if instruction != "" {
		prompt = strings.TrimSuffix(instruction, "\n") + "\n" + prompt
	}
	return a.ask(Question{Prompt: prompt, Echo: echo})
}
