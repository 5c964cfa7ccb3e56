package inventory

import (
	"fmt"
	"strings"
	"time"

	"fleetssh"
)

// The Ansible variables that say how to log in. If several names of a setting are set, the first
// wins, as in Ansible's ssh plugin.
var (
	addressVars    = []string{"ansible_host", "ansible_ssh_host"}
	portVars       = []string{"ansible_port", "ansible_ssh_port"}
	userVars       = []string{"ansible_user", "ansible_ssh_user"}
	keyVars        = []string{"ansible_private_key_file", "ansible_ssh_private_key_file"}
	passwordVars   = []string{"ansible_password", "ansible_ssh_pass", "ansible_ssh_password"}
	timeoutVars    = []string{"ansible_ssh_timeout", "ansible_timeout"}
	argumentVars   = []string{"ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"}
	connectionVars = []string{"ansible_connection"}
	checkingVars   = []string{"ansible_ssh_host_key_checking", "ansible_host_key_checking"}
	becomeVars     = []string{"ansible_become_password", "ansible_become_pass", "ansible_sudo_password", "ansible_sudo_pass"}
)

// A varApplier applies the Ansible variables of one host to a configuration.
type varApplier struct {
	inv    *Inventory
	host   *host
	vars   map[string]any
	config *fleetssh.HostConfig
	name   string // of the variable that is being applied

	strict, known string // StrictHostKeyChecking and UserKnownHostsFile
	keyed         bool   // a key file has been set

	file    string   // the configuration file of ssh (-F); empty: none is given
	options []string // other options of ssh (-o)
	from    string   // the variable that contains the last of file and options
}

// connect applies the Ansible variables of a host to a configuration.
func (inv *Inventory) connect(h *host, config *fleetssh.HostConfig) error {
	l := &varApplier{inv: inv, host: h, vars: inv.vars(h), config: config}
	for _, step := range []struct {
		names []string
		use   func(value string) error
	}{
		{connectionVars, connectsBySSH},
		{addressVars, func(v string) error { config.Host = v; return nil }},
		{portVars, func(v string) (err error) { config.Port, err = portOf(v); return err }},
		{userVars, func(v string) error { config.User = v; return nil }},
		{keyVars, l.key},
		{passwordVars, func(v string) error { config.Auth.Password = v; return nil }},
		{timeoutVars, l.timeout},
		{checkingVars, l.checking},
		{argumentVars[:1], l.arguments},
		{argumentVars[1:2], l.arguments},
		{argumentVars[2:], l.arguments},
	} {
		name, value, err := l.text(step.names)
		if err != nil {
			return err
		}
		if value == "" {
			continue
		}
		l.name = name
		if err := step.use(value); err != nil {
			return l.fail(name, err)
		}
	}
	if err := l.trust(); err != nil {
		return l.fail(argumentVars[1], err)
	}
	if err := l.configure(); err != nil {
		return l.fail(l.from, err)
	}
	// The address may be in brackets.
	if given, err := fleetssh.ParseHost(config.Host); err == nil && given.User == "" && given.Port == 0 {
		config.Host = given.Host
	}
	return nil
}

// key sets a key file. As for ssh there may be several.
func (l *varApplier) key(file string) error {
	if !l.keyed {
		l.keyed = true
		useKey(&l.config.Auth, file)
		return nil
	}
	l.config.Auth.Identities = append(l.config.Auth.Identities, file)
	return nil
}

func (l *varApplier) fail(setting string, err error) error {
	return &SettingError{Host: l.host.name, Setting: setting, Reason: err.Error(), err: err}
}

// text returns the first variable that is set, as text.
func (l *varApplier) text(names []string) (name, value string, err error) {
	for _, name := range names {
		raw, ok := l.vars[name]
		if !ok || raw == nil {
			continue
		}
		switch raw.(type) {
		case sealed:
			return name, "", l.fail(name, fmt.Errorf("it is encrypted by ansible-vault"))
		case []any, map[string]any:
			return name, "", l.fail(name, fmt.Errorf("it is a list or a dictionary, but must be text"))
		}
		value := textOf(raw)
		for _, sign := range []string{"{{", "{%"} {
			if strings.Contains(value, sign) {
				// The value may contain a secret, so the error does not show it.
				return name, "", l.fail(name, fmt.Errorf("it is a template (%s); templates are not evaluated", sign))
			}
		}
		return name, value, nil
	}
	return "", "", nil
}

// connectsBySSH refuses connection plugins other than ssh.
func connectsBySSH(value string) error {
	switch strings.TrimPrefix(value, "ansible.builtin.") {
	case "ssh", "smart", "paramiko", "paramiko_ssh":
		return nil
	}
	return fmt.Errorf("%.80q is not supported; only ssh is", value)
}

func (l *varApplier) timeout(value string) error {
	n, err := intOf(value)
	switch {
	case err != nil:
		return err
	case n < 0 || n > 1<<20:
		return fmt.Errorf("%d is not a valid number of seconds", n)
	}
	l.config.ConnectTimeout = time.Duration(n) * time.Second
	return nil
}

// checking sets whether host keys are checked. Without checking, unknown keys are accepted, but
// changed keys are still refused.
func (l *varApplier) checking(value string) error {
	on, err := boolOf(value)
	if err == nil && !on {
		l.strict = "no"
	}
	return err
}

// arguments applies arguments of ssh. Options that have no effect are errors, except those that
// concern only speed and messages.
func (l *varApplier) arguments(value string) error {
	args, err := words(value)
	if err != nil {
		return err
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case len(arg) == 2 && arg[0] == '-' && strings.Contains(plainLetters, arg[1:]):
			l.flag(arg)
			continue
		case len(arg) < 2 || strings.IndexByte("oJilpF", arg[1]) < 0 || arg[0] != '-':
			return fmt.Errorf("%.80q is not supported", arg)
		}
		letter, text := arg[1], arg[2:]
		if text == "" {
			if len(args) == 0 {
				return fmt.Errorf("%s needs a value", arg)
			}
			text, args = args[0], args[1:]
		}
		if letter == 'F' {
			l.file, l.from = text, l.name
			continue
		}
		key, given := map[byte]string{'J': "ProxyJump", 'i': "IdentityFile", 'l': "User", 'p': "Port"}[letter], text
		if letter == 'o' {
			var ok bool
			if key, text, ok = strings.Cut(text, "="); !ok {
				key, text, _ = strings.Cut(strings.TrimSpace(key), " ")
			}
			if !ownOption(key) {
				l.options, l.from = append(l.options, given), l.name
				continue
			}
		}
		if err := l.option(strings.TrimSpace(key), strings.Trim(text, ` "`)); err != nil {
			return err
		}
	}
	return nil
}

// plainLetters are the options of ssh without a value that are supported, or that concern only
// speed, messages, terminals and standard input.
const plainLetters = "46AaCKknqTtvx"

func (l *varApplier) flag(arg string) {
	switch arg {
	case "-K":
		l.options, l.from = append(l.options, "GSSAPIAuthentication=yes", "GSSAPIDelegateCredentials=yes"), l.name
	case "-k":
		l.options, l.from = append(l.options, "GSSAPIDelegateCredentials=no"), l.name
	case "-4":
		l.config.AddressFamily = "ip4"
	case "-6":
		l.config.AddressFamily = "ip6"
	case "-A", "-a":
		l.config.ForwardAgent = arg == "-A"
	}
}

// option applies an option of ssh_config(5).
func (l *varApplier) option(key, value string) error {
	var err error
	switch strings.ToLower(key) {
	case "proxyjump":
		err = l.inv.jump(l.config, value)
	case "identityfile":
		err = l.key(value)
	case "user":
		l.config.User = value
	case "port":
		l.config.Port, err = portOf(value)
	case "connecttimeout":
		err = l.timeout(value)
	case "forwardagent":
		if value != "yes" && value != "no" {
			return fmt.Errorf("-o %s=%.80s is not supported; only yes and no are", key, value)
		}
		l.config.ForwardAgent = value == "yes"
	case "proxycommand":
		l.config.Proxy, l.config.DialContext = nil, nil
		if !strings.EqualFold(value, "none") {
			// sshconfig recognizes proxy commands that amount to a hop.
			l.options, l.from = append(l.options, "ProxyCommand="+value), l.name
		}
	case "stricthostkeychecking":
		l.strict = strings.ToLower(value)
	case "userknownhostsfile":
		l.known = value
	case "controlmaster", "controlpersist", "controlpath", "compression", "loglevel", "batchmode":
		// They concern speed, messages and shared connections only.
	}
	return err
}

// ownOption reports whether option handles an option. Package sshconfig handles all others.
func ownOption(key string) bool {
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "proxyjump", "identityfile", "user", "port", "connecttimeout", "forwardagent", "proxycommand",
		"stricthostkeychecking", "userknownhostsfile",
		"controlmaster", "controlpersist", "controlpath", "compression", "loglevel", "batchmode":
		return true
	}
	return false
}

// trust sets the host key policy from the options of ssh. Hosts with the same options share a
// policy. "no" means accept-new: changed keys are refused.
func (l *varApplier) trust() error {
	if l.strict == "" && l.known == "" {
		return nil
	}
	inv, key := l.inv, l.strict+" "+l.known
	inv.mu.Lock()
	defer inv.mu.Unlock()
	policy := inv.policies[key]
	if policy == nil {
		policy = &fleetssh.KnownHosts{Files: strings.Fields(l.known)}
		switch l.strict {
		case "no", "off", "accept-new":
			policy.Unknown, policy.SkipUnreadable = fleetssh.AddUnknown, true
			policy.Files = policy.Files[:min(len(policy.Files), 1)]
		case "", "ask":
			policy.Unknown = fleetssh.AskUnknown
		case "yes":
		default:
			return fmt.Errorf("-o StrictHostKeyChecking=%.80s is not supported", l.strict)
		}
		if err := policy.Load(); err != nil {
			return err
		}
		inv.policies[key] = policy
	}
	l.config.HostKeys = policy
	return nil
}
