package selection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/sshconfig"
)

// Flags are the flags of all verbs that contact hosts: which hosts, how to log in, and how many at
// once.
type Flags struct {
	ExprFlags

	Login           string
	Port            int
	identity, cert  string
	Password        PasswordFlags
	HostKey         string
	KnownHosts      string
	ipv4, ipv6      bool
	route           routeFlags
	options         []string // lines of ssh_config
	passwordsDiffer bool     // hosts have different passwords

	Fanout         int
	connectTimeout time.Duration
	attempts       int
	retryDelay     time.Duration

	// The verb sets these before it calls Hosts.
	Use          sshconfig.Use    // what the verb does with the hosts
	Offline      bool             // no host is contacted: secrets are not asked for
	SkipKeyCheck bool             // the verb reports unusable keys for each host
	TakesInput   bool             // standard input is for the hosts, so no answer can come from there
	KeyCache     *KnownHostsCache // if not nil, Hosts fills in Host.Known

	// Hosts sets these.
	SSHConfig *SSHConfig
	canAsk    bool // the user can be asked
}

// Help is the help text of these flags.
const Help = ExprHelp + `
Logging in:
  -l, --login USER          user, where the host does not name one
  -p, --port PORT           port, where the host does not name one (22)
  -i, --identity FILE       private key, the only one that is offered; if the SSH
                            agent holds it, FILE may be the public key
      --cert FILE           certificate for it (FILE-cert.pub beside the key)
      --ask-pass            ask once for the password of all hosts
      --password-file FILE  read it from the first line of a file that only you
                            can read (fd:3: of a descriptor, -: standard input)
      --password-command LINE
                            run LINE in the shell, once; the password is the first
                            line that it prints, within two minutes
      --passwords-differ    send a password to all hosts at once; by default one
                            host gets it first, the others when it is accepted
      --host-key POLICY     strict: the key must be known (default, unless
                            ssh_config says otherwise; on a terminal you are
                            asked, once for all hosts, unless you give strict)
                            accept-new: add unknown keys, refuse changed ones
                            insecure: accept any key
      --known-hosts FILE    file of known host keys (~/.ssh/known_hosts)
  -F, --ssh-config FILE     configuration of ssh (~/.ssh/config and the system's
                            file); none: read no file
  -o, --option KEY=VALUE    a line as in ssh_config; overrides the file
  -4, --ipv4                connect to IPv4 addresses only
  -6, --ipv6                connect to IPv6 addresses only

` + routeFlagsHelp + `
Timeouts and retries:
  -f, --fanout N            hosts worked on at once (100)
  -t, --connect-timeout DUR limit for connecting and logging in, per attempt (30s)
      --attempts N          attempts to connect (3); a refused login is never
                            tried again
      --retry-delay DUR     pause between attempts (5s; 200ms, 400ms and so on
                            after a refused connection; 20s while sshd turns away
                            connections from this address)
`

// unset is the value of a duration flag that was not given.
const unset time.Duration = -1

// Register adds the flags to a verb.
func (f *Flags) Register(flags *pflag.FlagSet) {
	f.ExprFlags.Register(flags)
	flags.StringVarP(&f.Login, "login", "l", "", "")
	flags.VarP(flagvalue.Number{To: &f.Port, Min: 1, Max: 65535}, "port", "p", "")
	flags.StringVarP(&f.identity, "identity", "i", "", "")
	flags.StringVar(&f.cert, "cert", "", "")
	f.Password.Register(flags, false)
	flags.BoolVar(&f.passwordsDiffer, "passwords-differ", false, "")
	flags.Var(flagvalue.Choice{To: &f.HostKey, From: []string{"strict", "accept-new", "insecure"}}, "host-key", "")
	flags.StringVar(&f.KnownHosts, "known-hosts", "", "")
	flags.BoolVarP(&f.ipv4, "ipv4", "4", false, "")
	flags.BoolVarP(&f.ipv6, "ipv6", "6", false, "")
	flags.StringVarP(&f.Config, "ssh-config", "F", "", "")
	flags.StringArrayVarP(&f.options, "option", "o", nil, "")
	f.route.register(flags)
	f.Fanout = 100
	flags.VarP(flagvalue.Number{To: &f.Fanout, Min: 1, Max: 1_000_000}, "fanout", "f", "")
	flags.VarP(flagvalue.Duration{To: &f.connectTimeout}, "connect-timeout", "t", "")
	flags.Var(flagvalue.Number{To: &f.attempts, Min: 1, Max: 1000}, "attempts", "")
	f.retryDelay = unset
	flags.Var(flagvalue.Duration{To: &f.retryDelay, OrZero: true}, "retry-delay", "")
}

// Hosts returns the hosts with all settings, in their order. It checks the flags first, and then reads
// files and asks for passwords. If quiet is set, hosts cannot ask the user.
func (f *Flags) Hosts(ctx context.Context, env *Env, quiet bool) ([]Host, error) {
	if f.ipv4 && f.ipv6 {
		return nil, exit.UsageError("", "-4 and -6 exclude each other")
	}
	if err := f.Password.Check(); err != nil {
		return nil, err
	}
	if err := f.route.check(); err != nil {
		return nil, err
	}
	base := fleetssh.HostConfig{
		User:           f.Login,
		Port:           f.Port,
		Auth:           fleetssh.Auth{KeyFile: f.identity, CertFile: f.cert},
		AddressFamily:  f.family(),
		ConnectTimeout: f.connectTimeout,
		Attempts:       f.attempts,
		RetryDelay:     f.retryDelay,
		ControlPath:    f.route.controlPath,
		ForwardAgent:   f.route.forwardAgent,
	}
	switch f.retryDelay {
	case unset:
		base.RetryDelay = 0 // the default of the library
	case 0:
		base.RetryDelay = -1 // none
	}
	base.Auth.Ask, base.Auth.Tell = env.asker(quiet), env.Banner
	if f.HostKey == "insecure" && f.KnownHosts != "" && f.KeyCache == nil && env.Origin("known-hosts") == "" {
		env.Screen.Message("fleetssh: warning: --known-hosts has no effect with --host-key insecure, which accepts any key")
	}
	f.Prepare(env)
	entries, err := f.Select(base)
	if err != nil {
		return nil, err
	}
	f.canAsk = base.Auth.Ask != nil
	confirms := f.confirms(env)
	if base.HostKeys, err = f.policy(confirms); err != nil {
		return nil, err
	}
	if confirms {
		base.ConfirmHostKey = env.ConfirmKeys(entries)
	}
	config, err := f.LoadSSHConfig(ctx, env, base, quiet)
	if err != nil {
		return nil, err
	}
	secrets, err := f.secrets(ctx, env)
	if err != nil {
		return nil, err
	}
	f.SSHConfig = config
	config.File.Hops.Auth.GSSAPI = hopTickets(secrets.tickets)
	for i := range entries {
		e := &entries[i]
		e.Flags = f
		if base.HostKeys != nil { // set by a flag
			e.Config.HostKeys = base.HostKeys
		}
		e.Config.Auth.Ask, e.Config.Auth.Tell = base.Auth.Ask, base.Auth.Tell
		for host := &e.Config; host != nil; host = host.Proxy { // hops from an inventory
			host.ConfirmHostKey = base.ConfirmHostKey
		}
		secrets.apply(&e.Config.Auth, len(entries))
	}
	if err := config.apply(ctx, entries, f.Fanout); err != nil {
		return nil, err
	}
	for i := range entries {
		if env.Redirect != nil {
			env.Redirect(&entries[i])
		}
	}
	if err := noneUsable(entries); err != nil {
		return entries, err
	}
	return entries, f.checkKeys(ctx, entries)
}

// confirms reports whether the user is asked about host keys that are not known. With --host-key the
// user has said what to do.
func (f *Flags) confirms(env *Env) bool {
	return f.canAsk && !f.TakesInput && f.HostKey == "" && env.ConfirmKeys != nil && env.Redirect == nil
}

// noneUsable returns an error if no host can be used. Otherwise the run reports unusable hosts as it
// reports unreachable ones.
func noneUsable(entries []Host) error {
	for i := range entries {
		if entries[i].Config.Unusable == nil {
			return nil
		}
	}
	if len(entries) == 0 {
		return nil
	}
	err := entries[0].Config.Unusable
	text := err.Error()
	if more := len(entries) - 1; more > 0 {
		text += fmt.Sprintf(" (and %s more)", CountHosts(more))
	}
	if f, ok := errors.AsType[*exit.Error](err); ok {
		return &exit.Error{Code: f.Code, Text: text, Hint: f.Hint}
	}
	return exit.UsageError("", "%s", text)
}

// secrets are the secrets that all hosts share.
type secrets struct {
	password string
	tickets  *fleetssh.GSSAPI
}

func (f *Flags) secrets(ctx context.Context, env *Env) (secrets, error) {
	password, err := f.Password.read(ctx, env, f.Offline)
	if err != nil {
		return secrets{}, err
	}
	tickets, err := f.route.kerberos(ctx, env, f.Offline)
	return secrets{password, tickets}, err
}

// apply sets the secrets in the credentials of one of so many hosts. A password from the inventory
// takes precedence.
func (s *secrets) apply(a *fleetssh.Auth, hosts int) {
	if s.tickets != nil {
		a.GSSAPI = s.tickets
	}
	if s.password == "" {
		return
	}
	if a.Password == "" {
		a.Password = s.password
	}
	// If several hosts refuse the password, the user is not asked for each of them.
	if hosts > 1 {
		a.Ask = nil
	}
}

func (f *Flags) family() string {
	switch {
	case f.ipv4:
		return "ip4"
	case f.ipv6:
		return "ip6"
	}
	return ""
}

// policy returns the host key policy, nil if no flag sets it. If confirms is set, the user can be asked
// about keys that are not known.
func (f *Flags) policy(confirms bool) (fleetssh.HostKeyPolicy, error) {
	switch {
	case f.HostKey == "" && f.KnownHosts == "":
		return nil, nil
	case f.HostKey == "insecure":
		return fleetssh.InsecureIgnoreHostKeys{}, nil
	}
	policy := new(fleetssh.KnownHosts)
	if f.KnownHosts != "" {
		policy.Files = []string{f.KnownHosts}
	}
	if f.HostKey == "accept-new" {
		policy.Unknown, policy.SkipUnreadable = fleetssh.AddUnknown, true
	}
	if confirms {
		policy.Unknown = fleetssh.AskUnknown
	}
	return policy, policy.Load()
}
