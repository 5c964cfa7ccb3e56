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
	// MaxAuthTries limits how many keys and passwords are offered on one connection. It is the
	// default of sshd's MaxAuthTries, after which sshd disconnects.
	MaxAuthTries = 6
	// MaxLogins limits how many connections one attempt makes to offer all keys.
	MaxLogins = 4
	// maxRounds and maxPrompts limit the rounds of a keyboard-interactive login, and the
	// prompts in one round.
	maxRounds, maxPrompts = 16, 16
)

// authenticator offers credentials to one host, over one or more connections. The SSH library
// asks it which method to try next.
type authenticator struct {
	d      *Dialer
	host   *Config
	call   *Call
	broken func() bool     // reports whether the connection is broken
	ctx    context.Context // the context of the current attempt
	clock  *deadline.Clock // the clock of ctx

	creds          *identity.Credentials
	tickets        *gss.Credentials  // nil: no Kerberos
	ticket         *ticketUse        // on this connection
	kerberosShared *password.Tickets // the source of tickets
	checkOnce      bool              // the KDC checks the Kerberos password once for all hosts
	noTicket       *Failure          // if not nil: the KDC refused the password
	reportsRefusal bool              // this host is the one that reports the refusal of the KDC
	kerberos       offerState
	keys           []offer // nil until the host allows public keys
	password       offerState
	questions      offerState // keyboard-interactive
	sent           bool       // the password was sent, with either method

	shared   *password.Shared // the password as hosts share it; nil: it is not shared
	turn     *password.Turn   // the turn of this host to try the password; nil: it has none
	withheld *Failure         // why the password was not sent
	reply    passwordReply
	banner   *banner // the banners of this connection

	last     *offerState // the last offer, until the host answers it
	offered  ssh.PublicKey
	allowed  []string      // the methods that the host allowed at first
	accepted []string      // the methods accepted on this connection
	key      ssh.PublicKey // the accepted key
	partial  int           // the number of methods accepted on this connection
	tries    int           // the number of offers on this connection
	tried    []string      // the methods offered on all connections
	notes    []error
	shown    []*identity.Identity // the keys that were offered
	badKey   *Failure             // the failure of the first key that could not be decrypted
	warnings []string
	declined bool // the user declined to answer a question

	noMaster bool // no OpenSSH master has answered
}

// maxMethods is how many methods are kept that a host allows. There are about six.
const maxMethods = 20

// offer is a key and what became of offering it.
type offer struct {
	*identity.Identity
	state offerState
}

type offerState int

const (
	untried offerState = iota
	offered
	accepted // the host wants another method as well
	refused
)

var (
	// errRefused ends a login when nothing is left to offer.
	errRefused = errors.New("login refused")
	// errNextConnection ends a connection on which the host allows no more offers.
	errNextConnection = errors.New("more to offer than the host allows on one connection")
	errBroken         = errors.New("connection broken")
)

// newAuthenticator returns the authenticator for a call.
func (d *Dialer) newAuthenticator(call *Call, creds *identity.Credentials) *authenticator {
	auth := &call.Host.Auth
	a := &authenticator{d: d, host: call.Host, call: call, creds: creds, shared: d.passwords.Get(call.Host.User, auth.Password)}
	if auth.Kerberos != nil {
		a.kerberosShared, a.checkOnce = d.Tickets(auth.Kerberos.Options), d.passwords != nil
		a.tickets, _ = a.kerberosShared.Get()
	}
	return a
}

// begin prepares for a new connection. What the host accepted before must be offered again, and
// what it did not answer is still untried.
func (a *authenticator) begin(ctx context.Context, clock *deadline.Clock, w *conn.Wire) {
	a.clock = clock
	a.ctx, a.broken, a.last, a.partial, a.tries = ctx, w.Failed, nil, 0, 0
	a.banner = a.newBanner()
	a.ticket, a.offered, a.accepted, a.key = nil, nil, nil, nil
	reset := func(s *offerState) {
		if *s != refused {
			*s = untried
		}
	}
	for i := range a.keys {
		reset(&a.keys[i].state)
	}
	reset(&a.kerberos)
	reset(&a.password)
	reset(&a.questions)
	a.sent = a.password == refused || a.questions == refused
}

// newBanner returns an empty banner for a connection.
func (a *authenticator) newBanner() *banner {
	b := new(banner)
	if tell := a.host.Auth.Tell; tell != nil {
		clock, extend := a.clock, a.host.ExtendTimeout
		b.tell = func(text string) {
			if extend && clock.Limit() < signInTimeout {
				clock.Restart(signInTimeout)
			}
			tell(text)
		}
	}
	return b
}

// next returns the method to try next. It implements [ssh.ClientAuthCallback].
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
	a.traceKeysExchanged(c)
	if a.allowed == nil {
		a.allowed = conn.Names(c.AllowedMethods[:min(len(c.AllowedMethods), maxMethods)])
	}
	if a.last != nil {
		a.traceVerdict(c.AllowedMethods, len(c.PartialSuccessMethods) > a.partial)
	}
	a.verdict(len(c.PartialSuccessMethods))
	if a.withheld != nil {
		return nil, errWithheld
	}
	if a.declined {
		return nil, errRefused
	}
	method, name := a.choose(c.AllowedMethods)
	if a.withheld != nil {
		return nil, errWithheld
	}
	if method == nil && len(a.tried) == 0 && len(c.AllowedMethods) == 0 {
		return nil, nil // the SSH library reports what the host sent instead of its methods
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
	a.traceMethod(name)
	return method, nil
}

// verdict records the host's answer to the last offer. partial is the number of methods that it
// has accepted.
func (a *authenticator) verdict(partial int) {
	if a.last == nil {
		return
	}
	if !a.sentBy(a.last) {
		a.turn.Pass() // the login did not need the password
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
		a.sent = false // the next method is a second factor
	} else {
		*a.last = refused
		a.refusedPassword(a.last)
		if a.last == &a.kerberos {
			a.explainTicket()
		}
	}
	a.last = nil
}

// hungUp records that the host disconnected after the last offer, which counts as refused. It
// reports whether there is more to offer on another connection.
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

// choose returns the first untried method that the host allows, or nil.
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
	if a.noTicket != nil && auth.Password == "" {
		return nil, "" // the user has been asked for another password already, for all hosts
	}
	hasPassword := auth.Password != "" && !a.sent
	// If the user can be asked, keyboard-interactive comes first, so that the host can ask its
	// own questions. Otherwise the password method comes first. The same password is not sent
	// twice.
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
		a.traceKeys()
	}
	for i := range a.keys {
		if o := &a.keys[i]; o.state == untried && a.ready(o) {
			return o
		}
	}
	return nil
}

// ready decrypts the key if its public half is not known yet. It returns false if that fails:
// the key is not offered then.
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

// recordKey records why a key cannot be used.
func (a *authenticator) recordKey(err error) {
	err = keyFileFailure(a.host.Name, err)
	if f, ok := err.(*Failure); ok && a.badKey == nil {
		a.badKey = f
	}
	a.notes = append(a.notes, err)
}

// secret returns the configured password or, if there is none or it was sent already, asks the
// user for one.
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

// ask asks the user a question. A user who declines to answer is not asked again.
func (a *authenticator) ask(q Question) (string, error) {
	a.banner.now()
	defer a.clock.Pause()()
	answer, err := a.host.Auth.Ask(a.ctx, q)
	if err != nil {
		a.declined = true
		return "", a.record("%w", err)
	}
	return answer, nil
}

// recordingSigner records why signing failed: the SSH library drops that error and tries the next
// method.
type recordingSigner struct {
	ssh.MultiAlgorithmSigner
	auth *authenticator
	asks bool // signing may ask the user
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (s *recordingSigner) Algorithms() []string {
	return s.auth.host.Algorithms.Signatures(s.PublicKey(), s.MultiAlgorithmSigner.Algorithms())
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

// recording returns the signer of o, as a recordingSigner if possible.
func (a *authenticator) recording(o *offer) ssh.Signer {
	if s, ok := o.Signer.(ssh.MultiAlgorithmSigner); ok {
		return &recordingSigner{s, a, o.Asks}
	}
	return o.Signer
}

// answerer returns a function that answers the prompts of one keyboard-interactive login, in at
// most maxRounds rounds.
func (a *authenticator) answerer() ssh.KeyboardInteractiveChallenge {
	rounds := 0
	return func(name, instruction string, prompts []string, echos []bool) ([]string, error) {
		if rounds++; rounds > maxRounds || len(prompts) > maxPrompts {
			return nil, a.record("the host asks too many questions (round %d, %d questions)", rounds, len(prompts))
		}
		a.traceQuestions(instruction, prompts)
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

// answer answers one prompt. The password answers the first prompt without echo that contains
// "password" or, if the user cannot be asked, the first prompt without echo.
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
