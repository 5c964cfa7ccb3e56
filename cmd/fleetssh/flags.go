package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/sshconfig"
)

// hostEnv is what the flags need of the program around them.
type hostEnv struct {
	in       io.Reader // standard input
	screen   *termline.Screen
	ask      func(ctx context.Context, prompt string, echo bool) (string, error)
	warn     func(text, host string)                             // of what has no effect
	tell     func(host, text string)                             // shows what a host says while its login waits; nil: it is not shown
	showTold func()                                              // shows at once what tell has kept back
	origin   func(flag string) string                            // where in the user's settings a flag was set; empty: it was not
	recorded func(name string) (expr string, ok bool, err error) // the hosts of an earlier run, by a name such as "last:failed"

	// interrupt passes on an interrupt that a program in the foreground has got.
	interrupt func(ctx context.Context)

	// place, if not nil, changes a host before it is used. The user's own files are not read then:
	// a demo is the same everywhere.
	place func(*hostEntry)
}

// hostFlags say which hosts, how to log in to them, and how many at once. Verbs
// that contact hosts share them.
type hostFlags struct {
	selectFlags

	login          string
	port           int
	identity, cert string
	askPass        bool
	passwordFile   string
	hostKey        string
	knownHosts     string
	ipv4, ipv6     bool
	way            wayFlags
	config         string   // of ssh
	options        []string // as in it
	read           *clientConfig
	use            sshconfig.Use // what the verb does with the hosts
	nothingAsked   bool          // secrets that would be asked for are made up
	differ         bool          // each host has an opinion of its own of a password
	asks           bool          // the user is there to ask
	surveys        bool          // what stands against a login is what is asked for
	known          *knownFiles   // not nil: which files the keys of hosts are in is asked for

	fanout         int
	connectTimeout time.Duration
	attempts       int
	retryDelay     time.Duration
}

const hostFlagsHelp = selectFlagsHelp + `
How to log in:
  -l, --login USER          user, where the host does not name one
  -p, --port PORT           port, where the host does not name one (22)
  -i, --identity FILE       private key; no other key is offered then. It is that
                            of the SSH agent if the agent holds it; FILE may be
                            its public half then
      --cert FILE           certificate for it (FILE-cert.pub beside the key)
      --ask-pass            ask once for the password of all hosts
      --password-file FILE  take it from the first line of a file that only you
                            can read
      --passwords-differ    send a password to all hosts at once; otherwise one
                            host gets it first, the others when it is accepted
      --host-key POLICY     strict: the key must be known (default, if ssh_config
                            says nothing)
                            accept-new: add unknown keys, refuse changed ones
                            insecure: trust whoever answers
      --known-hosts FILE    file of known host keys (~/.ssh/known_hosts)
  -F, --ssh-config FILE     configuration of ssh (~/.ssh/config and that of the
                            system); none: no such file
  -o, --option KEY=VALUE    a line as in it; what is given here goes before it
  -4, --ipv4                connect to IPv4 addresses only
  -6, --ipv6                connect to IPv6 addresses only

` + wayFlagsHelp + `
How patiently:
  -f, --fanout N            hosts worked on at once (100)
  -t, --connect-timeout DUR longest time to connect and log in, each attempt (30s)
      --attempts N          attempts to connect (3); a refused login is never
                            tried again
      --retry-delay DUR     pause between attempts (5s; 200ms, 400ms and so on
                            after a refused connection; 20s if sshd lets nobody
                            in from here for a while)
`

// unset is a time that no flag gives.
const unset time.Duration = -1

// register adds the flags to a verb.
func (f *hostFlags) register(flags *pflag.FlagSet) {
	f.selectFlags.register(flags)
	flags.StringVarP(&f.login, "login", "l", "", "")
	flags.VarP(flagvalue.Number{To: &f.port, Min: 1, Max: 65535}, "port", "p", "")
	flags.StringVarP(&f.identity, "identity", "i", "", "")
	flags.StringVar(&f.cert, "cert", "", "")
	flags.BoolVar(&f.askPass, "ask-pass", false, "")
	flags.StringVar(&f.passwordFile, "password-file", "", "")
	flags.BoolVar(&f.differ, "passwords-differ", false, "")
	flags.Var(flagvalue.Choice{To: &f.hostKey, From: []string{"strict", "accept-new", "insecure"}}, "host-key", "")
	flags.StringVar(&f.knownHosts, "known-hosts", "", "")
	flags.BoolVarP(&f.ipv4, "ipv4", "4", false, "")
	flags.BoolVarP(&f.ipv6, "ipv6", "6", false, "")
	flags.StringVarP(&f.config, "ssh-config", "F", "", "")
	flags.StringArrayVarP(&f.options, "option", "o", nil, "")
	f.way.register(flags)
	f.fanout = 100
	flags.VarP(flagvalue.Number{To: &f.fanout, Min: 1, Max: 1_000_000}, "fanout", "f", "")
	flags.VarP(flagvalue.Duration{To: &f.connectTimeout}, "connect-timeout", "t", "")
	flags.Var(flagvalue.Number{To: &f.attempts, Min: 1, Max: 1000}, "attempts", "")
	f.retryDelay = unset
	flags.Var(flagvalue.Duration{To: &f.retryDelay, OrZero: true}, "retry-delay", "")
}

// configs returns the hosts, complete and in their order. It reads the files and
// asks for the password that the flags call for, after checking everything that
// can be checked without.
func (f *hostFlags) configs(ctx context.Context, env *hostEnv, quiet bool) ([]hostEntry, error) {
	switch {
	case f.askPass && f.passwordFile != "":
		return nil, exit.UsageError("", "--ask-pass and --password-file exclude each other")
	case f.ipv4 && f.ipv6:
		return nil, exit.UsageError("", "-4 and -6 exclude each other")
	}
	if err := f.way.check(); err != nil {
		return nil, err
	}
	base := fleetssh.HostConfig{
		User:           f.login,
		Port:           f.port,
		Auth:           fleetssh.Auth{KeyFile: f.identity, CertFile: f.cert},
		AddressFamily:  f.family(),
		ConnectTimeout: f.connectTimeout,
		Attempts:       f.attempts,
		RetryDelay:     f.retryDelay,
		ControlPath:    f.way.controlPath,
		ForwardAgent:   f.way.forwardAgent,
	}
	switch f.retryDelay {
	case unset:
		base.RetryDelay = 0 // the library knows better
	case 0:
		base.RetryDelay = -1 // none
	}
	base.Auth.Ask, base.Auth.Tell = env.asker(quiet), env.tell
	if f.hostKey == "insecure" && f.knownHosts != "" && f.known == nil && env.origin("known-hosts") == "" {
		env.screen.Message("fleetssh: warning: --known-hosts has no effect with --host-key insecure, which trusts whoever answers")
	}
	f.prepare(env)
	if f.inSSHConfig != nil {
		f.inSSHConfig = func() []string { return namesInSSHConfig(f.config) }
	}
	entries, err := f.entries(base)
	if err != nil {
		return nil, err
	}
	if base.HostKeys, err = f.policy(); err != nil {
		return nil, err
	}
	f.asks = base.Auth.Ask != nil
	config, err := f.sshConfig(ctx, env, f.way.hop(base), quiet)
	if err != nil {
		return nil, err
	}
	secrets, err := f.secrets(ctx, env)
	if err != nil {
		return nil, err
	}
	f.read = config
	config.file.Hops.Auth.GSSAPI = f.way.hopTickets(secrets.tickets)
	for i := range entries {
		e := &entries[i]
		e.flags = f
		if base.HostKeys != nil { // a flag says it
			e.config.HostKeys = base.HostKeys
		}
		e.config.Auth.Ask, e.config.Auth.Tell = base.Auth.Ask, base.Auth.Tell
		secrets.give(&e.config.Auth, len(entries))
	}
	if err := config.apply(ctx, entries, f.fanout); err != nil {
		return nil, err
	}
	for i := range entries {
		if env.place != nil {
			env.place(&entries[i])
		}
	}
	if err := noneUsable(entries); err != nil {
		return entries, err
	}
	return entries, f.insisted(ctx, entries)
}

// noneUsable returns why hosts cannot be used, if that is so of all of them. If others can,
// the run says it of those that cannot, as of hosts that are not reached.
func noneUsable(entries []hostEntry) error {
	for i := range entries {
		if entries[i].config.Unusable == nil {
			return nil
		}
	}
	if len(entries) == 0 {
		return nil
	}
	err := entries[0].config.Unusable
	text := err.Error()
	if more := len(entries) - 1; more > 0 {
		text += fmt.Sprintf(" (and %s more)", countHosts(more))
	}
	if f, ok := errors.AsType[*exit.Error](err); ok {
		return &exit.Error{Code: f.Code, Text: text, Hint: f.Hint}
	}
	return exit.UsageError("", "%s", text)
}

// secrets are what is asked for, once for all hosts.
type secrets struct {
	password string
	tickets  *fleetssh.GSSAPI
}

func (f *hostFlags) secrets(ctx context.Context, env *hostEnv) (secrets, error) {
	password, err := f.password(ctx, env)
	if err != nil {
		return secrets{}, err
	}
	tickets, err := f.way.kerberos(ctx, env, f.nothingAsked)
	return secrets{password, tickets}, err
}

// give puts the secrets into what one of so many hosts is logged in to with. A
// password of its own, from the inventory, goes before that for all.
func (s *secrets) give(a *fleetssh.Auth, hosts int) {
	if s.tickets != nil {
		a.GSSAPI = s.tickets
	}
	if s.password == "" {
		return
	}
	if a.Password == "" {
		a.Password = s.password
	}
	// A password that many hosts refuse is not asked for again on each of them.
	if hosts > 1 {
		a.Ask = nil
	}
}

func (f *hostFlags) family() string {
	switch {
	case f.ipv4:
		return "ip4"
	case f.ipv6:
		return "ip6"
	}
	return ""
}

// policy returns which host keys to trust, nil if no flag says so.
func (f *hostFlags) policy() (fleetssh.HostKeyPolicy, error) {
	switch {
	case f.hostKey == "" && f.knownHosts == "":
		return nil, nil
	case f.hostKey == "insecure":
		return fleetssh.InsecureIgnoreHostKeys(), nil
	case f.hostKey == "accept-new":
		return fleetssh.AcceptNewHostKeys(f.knownHosts)
	case f.knownHosts != "":
		return fleetssh.KnownHosts(f.knownHosts)
	}
	return fleetssh.KnownHosts()
}
