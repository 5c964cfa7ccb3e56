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

// Plan says what [Dial] would do on one host, and why.
type Plan struct {
	Host  HostConfig
	User  string // to log in as
	Port  int
	Steps []Step
}

// Step is one thing that would be tried, or that would not be.
type Step struct {
	Phase Phase // "connect", "host_key" or "auth"
	What  string
	Why   string // what it depends on, or where it comes from; may be empty

	// Passed says that it would be passed over, for the reason in Why.
	Passed bool
}

// Explain says what [Dial] would do: how each host on the way is reached, which host
// keys are trusted, and what is offered to log in, in its order. The hops come
// first, the host itself last. No host is contacted and no name looked up; the SSH
// agent is asked for its keys, and files and credential caches are read.
//
// The error is a [*ConfigError]. What would make Dial fail later on is a step that
// is passed over.
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
			return nil, &ConfigError{Host: -1, Field: "HostConfig.User", Reason: err.Error(), Err: err}
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

// connecting adds how the host is reached.
func (p *Plan) connecting() {
	h := &p.Host
	sockets, _ := h.controlSockets()
	for _, path := range sockets {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			p.step("connect", "ControlPath; if it answers, nothing of what follows is needed", "the connection of the OpenSSH master at %s", path)
		} else {
			p.pass("connect", "no socket is there", "the connection of an OpenSSH master at %s", path)
		}
	}
	at := hostPort(h.Host, h.port())
	switch {
	case h.Proxy != nil:
		p.step("connect", "the hop looks up the name", "%s through %s", at, h.Proxy)
	case h.DialContext != nil:
		p.step("connect", "DialContext", "%s as the program or the proxy settings say", at)
	case h.AddressFamily == "ip4" || h.AddressFamily == "ip6":
		p.step("connect", "", "%s over TCP, all IPv%s addresses of the name", at, h.AddressFamily[2:])
	default:
		p.step("connect", "", "%s over TCP, all addresses of the name", at)
	}
	if h.BindAddress != "" && h.Proxy == nil && h.DialContext == nil {
		p.step("connect", "BindAddress", "from %s", h.BindAddress)
	}
	retry := ""
	if h.attempts() > 1 {
		retry = fmt.Sprintf(", %v apart", h.retryDelay())
		if h.RetryDelay == 0 {
			retry += ", sooner if the connection is refused"
		}
	}
	p.step("connect", "a refused login is never tried again", "at most %v an attempt, %s%s", h.connectTimeout(), count(h.attempts(), "attempt"), retry)
	if h.ForwardAgent {
		if socket := h.Auth.agentSocket(); socket != "" {
			p.step("connect", "ForwardAgent", "the SSH agent at %s is forwarded", socket)
		} else {
			p.step("connect", "ForwardAgent", "%s", dial.NoAgentToForward)
		}
	}
}

// trusting adds which host keys are accepted.
func (p *Plan) trusting(d *dialer) {
	policy := p.Host.HostKeys
	if policy == nil {
		var err error
		if policy, err = d.known(); err != nil {
			p.pass("host_key", err.Error(), "no host key can be checked")
			return
		}
	}
	p.narrowing(d)
	var files *knownhosts.Policy
	unknown := "refused"
	switch policy := policy.(type) {
	case hostKeyFiles:
		files = policy.policy
		switch {
		case files.AcceptNew && files.File == os.DevNull:
			unknown = "accepted, and kept nowhere"
		case files.AcceptNew:
			unknown = "accepted and added to " + files.File
		}
	case ignoreHostKeys:
		p.step("host_key", "InsecureIgnoreHostKeys", "any key is accepted: whoever answers is trusted")
		return
	default:
		p.step("host_key", "", "the program decides (%T)", policy)
		return
	}
	command := len(p.Host.KnownHostsCommand) > 0
	if command {
		p.step("host_key", "KnownHostsCommand", "known: what %s lists for it, when it is run", p.Host.KnownHostsCommand[0])
	}
	keys, authorities := files.DB.Lookup(p.Host.keyName())
	for _, k := range keys {
		p.step("host_key", fmt.Sprintf("%s:%d", k.File, k.Line), "known: %s %s", k.Type, k.Fingerprint)
	}
	for _, k := range authorities {
		p.step("host_key", fmt.Sprintf("%s:%d", k.File, k.Line), "certificates by %s %s", k.Type, k.Fingerprint)
	}
	switch {
	case len(keys) > 0:
		p.step("host_key", "", "another key is refused")
	case command:
		p.step("host_key", "", "a key that is not listed is %s", unknown)
	case len(authorities) == 0 && unknown == "refused":
		p.pass("host_key", "no known_hosts file has a key for it", "whatever key it shows is refused")
	default:
		p.step("host_key", "", "another key is %s", unknown)
	}
}

// narrowing adds which keys are refused whatever the policy says.
func (p *Plan) narrowing(d *dialer) {
	h := &p.Host
	for _, file := range h.RevokedHostKeys {
		if err := d.engine.CheckRevocations(account.Expand(file)); err != nil {
			p.pass("host_key", "RevokedHostKeys: "+err.Error(), "whatever key it shows is refused")
			continue
		}
		p.step("host_key", "RevokedHostKeys", "a key that %s revokes is refused", file)
	}
	if h.CheckHostIP {
		p.step("host_key", "CheckHostIP", "a host whose address is known by another key is refused")
	}
	a := h.Algorithms
	if a == nil {
		return
	}
	if a.MinRSABits > 0 {
		p.step("host_key", "", "an RSA key of less than %d bits is refused", a.MinRSABits)
	}
	if len(a.CASignatures) > 0 {
		p.step("host_key", "", "a certificate counts if it is signed with %s", strings.Join(a.CASignatures, ", "))
	}
}

// loggingIn adds what is offered to log in.
func (p *Plan) loggingIn(ctx context.Context, d *dialer) {
	a := &p.Host.Auth
	if len(a.Methods) > 0 {
		p.step("auth", "", "no other methods are tried than %s", strings.Join(a.Methods, ", "))
	}
	if a.GSSAPI != nil {
		p.ticket(d)
	}
	ask := a.Ask != nil
	c, err := d.engine.Credentials(ctx, d.config(&p.Host))
	if err != nil {
		p.pass("auth", publicError(err).Error(), "publickey: the login ends here")
		return
	}
	keys := c.All(func() context.Context { return ctx })
	for _, id := range keys {
		if id.Signer == nil {
			p.step("auth", id.Source, "publickey: a key whose public half is not known")
			continue
		}
		public := id.Signer.PublicKey()
		p.step("auth", id.Source, "publickey: %s %s", public.Type(), ssh.FingerprintSHA256(public))
	}
	for _, note := range c.Notes() {
		p.pass("auth", note.Error(), "publickey")
	}
	p.manyKeys(len(keys))
	p.unusedKeys(c)
	switch {
	case ask && a.Password != "":
		p.step("auth", "the password is given; other questions are put to the user", "keyboard-interactive, password")
	case ask:
		p.step("auth", "the user is asked", "keyboard-interactive, password")
	case a.Password != "":
		p.step("auth", "the password is given", "password, keyboard-interactive")
	default:
		p.pass("auth", "no password is given, and there is nobody to ask", "password, keyboard-interactive")
	}
}

// unusedKeys adds why some keys are not offered.
func (p *Plan) unusedKeys(c *identity.Credentials) {
	a := &p.Host.Auth
	switch {
	case a.ownKeys():
		p.pass("auth", "a key is named, so no other is offered", "publickey: keys of the SSH agent and default key files")
	case a.NoAgent:
		p.pass("auth", "NoAgent", "publickey: keys of the SSH agent")
	case !c.AsksAgent():
		p.pass("auth", "SSH_AUTH_SOCK is not set", "publickey: keys of the SSH agent")
	}
	if a.ownKeys() {
		return
	}
	if c.AgentIsEmpty() {
		p.pass("auth", "it lists none: ssh-add gives it some, and ssh-add -X unlocks it if it is locked", "publickey: keys of the SSH agent")
	}
	if a.IdentitiesOnly && c.AsksAgent() {
		p.step("auth", "IdentitiesOnly", "no other keys of the SSH agent are offered")
	}
	if len(a.Identities) > 0 {
		return
	}
	if a.NoDefaultKeys {
		p.pass("auth", "NoDefaultKeys", "publickey: default key files")
	} else if !c.FindsKeys() {
		p.pass("auth", "~/.ssh holds none of "+strings.Join(keyfile.DefaultNames(), ", "), "publickey: default key files")
	}
}

// manyKeys adds what becomes of more keys than hosts take.
func (p *Plan) manyKeys(n int) {
	if n > dial.MaxAuthTries {
		p.step("auth", "hosts end a connection after too many refusals", "the keys are offered over up to %d connections, %d on each", dial.MaxLogins, dial.MaxAuthTries)
	}
}

// ticket adds the login with a Kerberos ticket.
func (p *Plan) ticket(d *dialer) {
	g := p.Host.Auth.GSSAPI
	server := g.ServerIdentity
	if server == "" {
		server = p.Host.Host
	}
	tickets, _ := d.engine.Tickets(g.options()).Get()
	t := tickets.Describe(server)
	if t.Err != nil && t.Until.IsZero() && g.IfTicket {
		p.pass("auth", "no ticket: run kinit to use it", "gssapi-with-mic")
		return
	}
	if t.Err != nil {
		p.pass("auth", t.Err.Error(), "gssapi-with-mic")
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
	p.step("auth", strings.Join(why, ", "), "gssapi-with-mic: %s asks for %s", t.Principal, t.Service)
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}
