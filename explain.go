package fleetssh

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/dial"
	"fleetssh/internal/identity"
	"fleetssh/internal/keyfile"
	"fleetssh/internal/knownhosts"
)

// Plan lists what [Dial] would do for one host, and why.
type Plan struct {
	Host  HostConfig
	User  string // to log in as
	Port  int
	Steps []Step
}

// Step is one thing that [Dial] would do or skip.
type Step struct {
	Phase Phase // [PhaseConnect], [PhaseHostKey] or [PhaseAuth]
	What  string
	Why   string // the setting or file it comes from, or what it depends on; may be empty

	// Passed says that Dial would skip the step, for the reason in Why.
	Passed bool
}

// Explain lists what [Dial] would do, with one Plan for each hop and the last one for the host
// itself. Each Plan says how Dial reaches the host, which host keys it trusts, and what it offers to
// log in, in this order. Explain contacts no host and looks up no name; it asks the SSH agent for its
// keys, and reads files and credential caches.
//
// The error is a [*ConfigError]. A reason for which Dial would fail later is a step with Passed set.
func Explain(ctx context.Context, host HostConfig) ([]Plan, error) {
	if err := host.check(-1); err != nil {
		return nil, err
	}
	d := newDialer(nil, 0, nil)
	defer d.close()
	var plans []Plan
	for h := &host; h != nil; h = h.Proxy {
		user, err := h.login()
		if err != nil {
			return nil, &ConfigError{Index: -1, Field: "HostConfig.User", Reason: err.Error(), Err: err}
		}
		p := Plan{Host: *h, User: user, Port: h.port()}
		p.connecting()
		p.trusting(d)
		p.loggingIn(ctx, d)
		plans = append(plans, p)
	}
	slices.Reverse(plans)
	return plans, nil
}

func (p *Plan) step(phase Phase, why, format string, args ...any) {
	p.Steps = append(p.Steps, Step{Phase: phase, What: fmt.Sprintf(format, args...), Why: why})
}

func (p *Plan) pass(phase Phase, why, format string, args ...any) {
	p.step(phase, why, format, args...)
	p.Steps[len(p.Steps)-1].Passed = true
}

// connecting adds the steps by which Dial reaches the host.
func (p *Plan) connecting() {
	h := &p.Host
	sockets, _ := h.controlSockets()
	for _, path := range sockets {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			p.step(PhaseConnect, "ControlPath; if it answers, nothing of what follows is needed", "the connection of the OpenSSH master at %s", path)
		} else {
			p.pass(PhaseConnect, "no socket is there", "the connection of an OpenSSH master at %s", path)
		}
	}
	at := hostPort(h.Host, h.port())
	switch {
	case h.Proxy != nil:
		p.step(PhaseConnect, "the hop looks up the name", "%s through %s", at, h.Proxy)
	case h.DialContext != nil:
		p.step(PhaseConnect, "DialContext", "%s as the program or the proxy settings say", at)
	case h.AddressFamily == "ip4" || h.AddressFamily == "ip6":
		p.step(PhaseConnect, "", "%s over TCP, all IPv%s addresses of the name", at, h.AddressFamily[2:])
	default:
		p.step(PhaseConnect, "", "%s over TCP, all addresses of the name", at)
	}
	if h.BindAddress != "" && h.Proxy == nil && h.DialContext == nil {
		p.step(PhaseConnect, "BindAddress", "from %s", h.BindAddress)
	}
	retry := ""
	if h.attempts() > 1 {
		retry = fmt.Sprintf(", %v apart", h.retryDelay())
		if h.RetryDelay == 0 {
			retry += ", sooner if the connection is refused"
		}
	}
	p.step(PhaseConnect, "a refused login is never tried again", "at most %v an attempt, %s%s", h.connectTimeout(), count(h.attempts(), "attempt"), retry)
	if h.ForwardAgent {
		if socket := h.Auth.agentSocket(); socket != "" {
			p.step(PhaseConnect, "ForwardAgent", "the SSH agent at %s is forwarded", socket)
		} else {
			p.step(PhaseConnect, "ForwardAgent", "%s", dial.NoAgentToForward)
		}
	}
}

// trusting adds the host keys that Dial accepts.
func (p *Plan) trusting(d *dialer) {
	policy := p.Host.HostKeys
	if policy == nil {
		policy = &d.known
	}
	p.narrowing(d)
	var files *knownhosts.Policy
	unknown := "refused"
	switch policy := policy.(type) {
	case *KnownHosts:
		var err error
		if files, err = policy.load(); err != nil {
			p.pass(PhaseHostKey, err.Error(), "no host key can be checked")
			return
		}
		switch {
		case files.AcceptNew && files.File == os.DevNull:
			unknown = "accepted, and kept nowhere"
		case files.AcceptNew:
			unknown = "accepted and added to " + files.File
		case policy.Unknown == AskUnknown && p.Host.ConfirmHostKey != nil:
			unknown = "refused, unless the user confirms it"
		}
	case InsecureIgnoreHostKeys:
		p.step(PhaseHostKey, "InsecureIgnoreHostKeys", "any key is accepted: whoever answers is trusted")
		return
	default:
		p.step(PhaseHostKey, "", "the program decides (%T)", policy)
		return
	}
	command := len(p.Host.KnownHostsCommand) > 0
	if command {
		p.step(PhaseHostKey, "KnownHostsCommand", "known: what %s lists for it, when it is run", p.Host.KnownHostsCommand[0])
	}
	keys, authorities := files.DB.Lookup(p.Host.keyName())
	for _, k := range keys {
		p.step(PhaseHostKey, fmt.Sprintf("%s:%d", k.File, k.Line), "known: %s %s", k.Type, k.Fingerprint)
	}
	for _, k := range authorities {
		p.step(PhaseHostKey, fmt.Sprintf("%s:%d", k.File, k.Line), "certificates by %s %s", k.Type, k.Fingerprint)
	}
	switch {
	case len(keys) > 0:
		p.step(PhaseHostKey, "", "another key is refused")
	case command:
		p.step(PhaseHostKey, "", "a key that is not listed is %s", unknown)
	case len(authorities) == 0 && strings.HasPrefix(unknown, "refused"):
		p.pass(PhaseHostKey, "no known_hosts file has a key for it", "whatever key it shows is %s", unknown)
	default:
		p.step(PhaseHostKey, "", "another key is %s", unknown)
	}
}

// narrowing adds the host keys that Dial refuses under every policy.
func (p *Plan) narrowing(d *dialer) {
	h := &p.Host
	for _, file := range h.RevokedHostKeys {
		if err := d.engine.CheckRevocations(account.Expand(file)); err != nil {
			p.pass(PhaseHostKey, "RevokedHostKeys: "+err.Error(), "whatever key it shows is refused")
			continue
		}
		p.step(PhaseHostKey, "RevokedHostKeys", "a key that %s revokes is refused", file)
	}
	if h.CheckHostIP {
		p.step(PhaseHostKey, "CheckHostIP", "a host whose address is known by another key is refused")
	}
	a := h.Algorithms
	if a == nil {
		return
	}
	if a.MinRSABits > 0 {
		p.step(PhaseHostKey, "", "an RSA key of less than %d bits is refused", a.MinRSABits)
	}
	if len(a.CASignatures) > 0 {
		p.step(PhaseHostKey, "", "a certificate counts if it is signed with %s", strings.Join(a.CASignatures, ", "))
	}
}

// loggingIn adds the credentials that Dial offers to log in.
func (p *Plan) loggingIn(ctx context.Context, d *dialer) {
	a := &p.Host.Auth
	if len(a.Methods) > 0 {
		p.step(PhaseAuth, "", "no other methods are tried than %s", strings.Join(a.Methods, ", "))
	}
	if a.GSSAPI != nil {
		p.ticket(d)
	}
	ask := a.Ask != nil
	c, err := d.engine.Credentials(ctx, d.config(&p.Host))
	if err != nil {
		p.pass(PhaseAuth, publicError(err).Error(), "publickey: the login ends here")
		return
	}
	keys := c.All(func() context.Context { return ctx })
	for _, id := range keys {
		if id.Signer == nil {
			p.step(PhaseAuth, id.Source, "publickey: a key whose public half is not known")
			continue
		}
		public := id.Signer.PublicKey()
		p.step(PhaseAuth, id.Source, "publickey: %s %s", public.Type(), ssh.FingerprintSHA256(public))
	}
	for _, note := range c.Notes() {
		p.pass(PhaseAuth, note.Error(), "publickey")
	}
	p.manyKeys(len(keys))
	p.unusedKeys(c)
	switch {
	case ask && a.Password != "":
		p.step(PhaseAuth, "the password is given; other questions are put to the user", "keyboard-interactive, password")
	case ask:
		p.step(PhaseAuth, "the user is asked", "keyboard-interactive, password")
	case a.Password != "":
		p.step(PhaseAuth, "the password is given", "password, keyboard-interactive")
	default:
		p.pass(PhaseAuth, "no password is set, and the user cannot be asked", "password, keyboard-interactive")
	}
}

// unusedKeys adds the keys that Dial does not offer, with the reason.
func (p *Plan) unusedKeys(c *identity.Credentials) {
	a := &p.Host.Auth
	switch {
	case a.ownKeys():
		p.pass(PhaseAuth, "a key is named, so no other is offered", "publickey: keys of the SSH agent and default key files")
	case a.NoAgent:
		p.pass(PhaseAuth, "NoAgent", "publickey: keys of the SSH agent")
	case !c.AsksAgent():
		p.pass(PhaseAuth, "SSH_AUTH_SOCK is not set", "publickey: keys of the SSH agent")
	}
	if a.ownKeys() {
		return
	}
	if c.AgentIsEmpty() {
		p.pass(PhaseAuth, "it lists none: ssh-add gives it some, and ssh-add -X unlocks it if it is locked", "publickey: keys of the SSH agent")
	}
	if a.IdentitiesOnly && c.AsksAgent() {
		p.step(PhaseAuth, "IdentitiesOnly", "no other keys of the SSH agent are offered")
	}
	if len(a.Identities) > 0 {
		return
	}
	if a.NoDefaultKeys {
		p.pass(PhaseAuth, "NoDefaultKeys", "publickey: default key files")
	} else if !c.FindsKeys() {
		p.pass(PhaseAuth, "~/.ssh holds none of "+strings.Join(keyfile.DefaultNames(), ", "), "publickey: default key files")
	}
}

// manyKeys adds how Dial offers more keys than hosts accept on one connection.
func (p *Plan) manyKeys(n int) {
	if n > dial.MaxAuthTries {
		p.step(PhaseAuth, "hosts end a connection after too many refusals", "the keys are offered over up to %d connections, %d on each", dial.MaxLogins, dial.MaxAuthTries)
	}
}

// ticket adds the login with a Kerberos ticket, or why Dial cannot use one.
func (p *Plan) ticket(d *dialer) {
	g := p.Host.Auth.GSSAPI
	server := g.ServerIdentity
	if server == "" {
		server = p.Host.Host
	}
	tickets, _ := d.engine.Tickets(g.options()).Get()
	t := tickets.Describe(server)
	if t.Err != nil && t.Until.IsZero() && g.IfTicket {
		p.pass(PhaseAuth, "no ticket: run kinit to use it", "gssapi-with-mic")
		return
	}
	if t.Err != nil {
		p.pass(PhaseAuth, t.Err.Error(), "gssapi-with-mic")
		return
	}
	why := []string{t.Source}
	if !t.Until.IsZero() {
		why = append(why, "valid until "+t.Until.Local().Format(time.DateTime))
	}
	if g.Delegate && !t.Forwards {
		why = append(why, "cannot be delegated: the ticket is not forwardable")
	} else if g.Delegate {
		why = append(why, "delegated")
	}
	p.step(PhaseAuth, strings.Join(why, ", "), "gssapi-with-mic: %s asks for %s", t.Principal, t.Service)
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}
