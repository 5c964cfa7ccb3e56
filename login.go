package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/dial"
	"fleetssh/internal/gss"
	"fleetssh/internal/identity"
	"fleetssh/internal/password"
	"fleetssh/internal/sanitize"
)

const (
	// maxAuthTries is how many keys and passwords are offered on one connection:
	// the default of MaxAuthTries in sshd, which hangs up after so many.
	maxAuthTries = 6
	// maxLogins is how many connections an attempt makes to offer all it has.
	maxLogins = 4
	// maxRounds bounds the questions of a keyboard-interactive login.
	maxRounds, maxPrompts = 16, 16
)

// login offers credentials to one host, over as many connections as it takes. It
// is the callback of the SSH library for what to try next.
type login struct {
	host   *HostConfig
	user   string
	broken func() bool     // the connection is
	ctx    context.Context // of the attempt under way
	clock  *deadline.Clock // of ctx

	creds          *identity.Credentials
	tickets        *gss.Credentials  // nil: no Kerberos
	ticket         *ticketUse        // on this connection
	kerberosShared *password.Tickets // where tickets come from
	protected      bool              // a password that hosts share is tried once
	ticketless     *dial.Failure     // there is no ticket: the KDC has refused the password
	tellsRefusal   bool              // this host is the one that says so
	kerberos       offerState
	keys           []offer // nil before the host has said that it takes keys
	password       offerState
	questions      offerState // keyboard-interactive
	sent           bool       // the password has gone out, by whichever method

	shared *password.Shared // with other hosts; nil: that does not matter
	turn   *password.Turn   // to try it; nil: it is not ours
	unsent error            // why it did not go out
	reply  passwordReply
	asks   func(context.Context, RefusedPassword) (string, error)
	work   *progress
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
	keyErr   *dial.Failure        // the first key that could not be decrypted
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

// begin prepares for a new connection: what has been accepted is needed again,
// and what got no answer is still to be tried.
func (l *login) begin(ctx context.Context, clock *deadline.Clock, w *conn.Wire) {
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
func (l *login) newBanner() *banner {
	b := new(banner)
	if tell := l.host.Auth.Tell; tell != nil {
		name, clock, patient := l.host.name(), l.clock, l.host.ConnectTimeout == 0
		b.tell = func(text string) {
			if patient && clock.Limit() < signInTimeout {
				clock.Restart(signInTimeout)
			}
			tell(name, text)
		}
	}
	return b
}

// next returns what to offer next. It implements [ssh.ClientAuthCallback].
func (l *login) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
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
	if l.tries == maxAuthTries {
		*l.last = untried
		return nil, errNextConnection
	}
	l.tries++
	l.tried = append(l.tried, name)
	return method, nil
}

// verdict notes what has become of the last offer.
func (l *login) verdict(partial int) {
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

// hungUp notes that the host has ended the connection after refusing what was
// offered. It reports whether there is more to offer on another.
func (l *login) hungUp() bool {
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
func (l *login) choose(allowed []string) (ssh.AuthMethod, string) {
	a := &l.host.Auth
	l.offered = nil
	allowed = a.permitted(allowed)
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

func (l *login) offer(s *offerState) {
	*s = offered
	l.last = s
}

func (l *login) nextKey() *offer {
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
func (l *login) ready(o *offer) bool {
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

// noteKey notes why a key does not sign.
func (l *login) noteKey(err error) {
	err = dial.KeyFileFailure(l.host.name(), err)
	if f, ok := err.(*dial.Failure); ok && l.keyErr == nil {
		l.keyErr = f
	}
	l.notes = append(l.notes, err)
}

// secret returns the password: the one given, unless it has been refused, or the
// answer of the user.
func (l *login) secret() (string, error) {
	a := &l.host.Auth
	if a.Password != "" && !l.sent {
		return l.givenPassword()
	}
	if a.Ask == nil {
		return "", errRefused
	}
	prompt := fmt.Sprintf("%s@%s's password: ", l.user, l.host.name())
	return l.ask(Question{Host: l.host.name(), Prompt: prompt})
}

// ask puts a question to the user. One who refuses to answer is not asked again.
func (l *login) ask(q Question) (string, error) {
	l.banner.now()
	defer l.clock.Pause()()
	answer, err := l.host.Auth.ask(l.ctx, q)
	if err != nil {
		l.gaveUp = true
		return "", l.note("%w", err)
	}
	return answer, nil
}

// notingSigner remembers why a key does not sign: the SSH library just goes on to
// the next method.
type notingSigner struct {
	ssh.MultiAlgorithmSigner
	login *login
	asks  bool
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (s *notingSigner) Algorithms() []string {
	return s.login.host.algorithms().Signatures(s.PublicKey(), s.MultiAlgorithmSigner.Algorithms())
}

// noting returns the signer of o as a notingSigner, if it may fail.
func (l *login) noting(o *offer) ssh.Signer {
	if s, ok := o.Signer.(ssh.MultiAlgorithmSigner); ok {
		return &notingSigner{s, l, o.Asks}
	}
	return o.Signer
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (s *notingSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if s.asks {
		defer s.login.clock.Pause()()
	}
	sig, err := s.MultiAlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	if err != nil {
		s.login.noteKey(err)
	}
	return sig, err
}

// answerer returns a function that answers the questions of one
// keyboard-interactive login, in any number of rounds.
func (l *login) answerer() ssh.KeyboardInteractiveChallenge {
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
func (l *login) answer(instruction, prompt string, echo bool) (string, error) {
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
	return l.ask(Question{Host: l.host.name(), Prompt: prompt, Echo: echo})
}

// explain notes what may help to understand a refusal.
func (l *login) explain(allowed []string) {
	if len(l.tried) == 0 {
		l.note("nothing to offer of what the host takes: %s", sanitize.List(allowed))
	}
}

// note remembers why a login goes wrong and returns it.
func (l *login) note(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	l.notes = append(l.notes, err)
	return err
}

// refusal returns the error for a refused login.
func (l *login) refusal(cause error) error {
	if l.keyErr != nil && l.host.Auth.ownKeys() && !slices.ContainsFunc(l.tried, func(m string) bool { return m != "publickey" }) {
		return l.keyErr // it is the one that was to be used
	}
	if l.ticketless != nil && !l.sent && !l.tellsRefusal {
		return l.ticketless
	}
	var notes []error
	for _, note := range l.creds.Notes() {
		notes = append(notes, dial.KeyFileFailure("", note)) // the error names the host
	}
	notes = slices.Concat(notes, l.notes, l.unbuilt())
	if cause != nil {
		notes = append(notes, cause)
	}
	var keys []string
	for _, id := range l.shown {
		keys = append(keys, id.Describe())
	}
	return &dial.Failure{
		Kind: dial.LoginRefused, Host: l.host.name(), Port: l.host.port(), Phase: "auth", User: l.user,
		Tried: compress(l.tried), Keys: keys, Banner: l.banner.end(), Notes: notes,
	}
}

// unbuilt returns what UserKeys asks for and is not there, if it could be why a key was
// refused: servers older than OpenSSH 7.2 take RSA keys with SHA-1 only.
func (l *login) unbuilt() []error {
	if !l.host.algorithms().WantsSHA1() {
		return nil
	}
	for i := range l.keys {
		if l.keys[i].Signer == nil {
			continue // it has not been decrypted
		}
		multi, ok := l.keys[i].Signer.(ssh.MultiAlgorithmSigner)
		if t := algorithms.PlainKey(l.keys[i].Signer.PublicKey()).Type(); t == ssh.KeyAlgoRSA && ok && !slices.Contains(multi.Algorithms(), t) {
			return []error{errors.New("signing with SHA-1 (ssh-rsa), which PubkeyAcceptedAlgorithms (UserKeys) allows, is not built: use a key of another type, or the connection of an ssh master")}
		}
	}
	return nil
}

// compress writes runs of one method as one: "publickey x4".
func compress(methods []string) []string {
	var out []string
	for i := 0; i < len(methods); {
		k := i
		for k < len(methods) && methods[k] == methods[i] {
			k++
		}
		name := methods[i]
		if k-i > 1 {
			name = fmt.Sprintf("%s x%d", name, k-i)
		}
		out = append(out, name)
		i = k
	}
	return out
}
