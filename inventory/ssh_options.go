package inventory

import (
	"errors"
	"strings"

	"fleetssh"
	"fleetssh/sshconfig"
)

// optionsKey is the key of a configuration of ssh. Hosts with the same file and options share it,
// with its hops and policies.
type optionsKey struct{ file, options string }

// configure applies the arguments of ssh that option does not handle, as ssh reads them: settings
// that are set already win.
func (l *varApplier) configure() error {
	if l.file == "" && len(l.options) == 0 {
		return nil
	}
	file, err := l.inv.sshFile(l.file, l.options)
	if err != nil {
		return plainReason(err)
	}
	config, err := file.Host(l.config.Host, *l.config)
	if err != nil {
		return plainReason(err)
	}
	*l.config = config
	return nil
}

// plainReason removes the position of an error in an option: the error names the variable already.
func plainReason(err error) error {
	if e, ok := errors.AsType[*sshconfig.Error](err); ok && e.File == "-o" {
		return e.Err
	}
	return err
}

// sshFile returns the configuration of ssh in a file, with options. Without a path it has only the
// options.
func (inv *Inventory) sshFile(path string, options []string) (*sshconfig.File, error) {
	key := optionsKey{path, strings.Join(options, "\n")}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if file := inv.configs[key]; file != nil {
		return file, nil
	}
	if path == "" {
		path = "none"
	}
	file, err := sshconfig.Load(path)
	if err != nil {
		return nil, err
	}
	file.Hops = inv.hopBase()
	if err := file.Options(options...); err != nil {
		return nil, err
	}
	inv.configs[key] = file
	return file, nil
}

// OwnConfiguration reports whether a host has an ssh_config file of its own (-F in its arguments of
// ssh), which is used instead of the user's file.
func (inv *Inventory) OwnConfiguration(name string) bool {
	l, ok := inv.arguments(name)
	return ok && l.file != ""
}

// Unsupported returns the options of ssh in the settings of a host that have no effect.
func (inv *Inventory) Unsupported(name string) []sshconfig.Unsupported {
	l, ok := inv.arguments(name)
	if !ok || l.file == "" && len(l.options) == 0 {
		return nil
	}
	file, err := inv.sshFile(l.file, l.options)
	if err != nil || len(file.Unsupported()) == 0 {
		return nil
	}
	settings, err := file.Resolve(l.config.Host, l.config.User)
	if err != nil {
		return nil
	}
	return settings.Unsupported()
}

// arguments parses the arguments of ssh of a host. ok is false if the host is not from an Ansible
// inventory, or if the arguments are invalid, which Select reports.
func (inv *Inventory) arguments(name string) (l *varApplier, ok bool) {
	h := inv.graph.hosts[name]
	if h == nil || h.line != nil {
		return nil, false
	}
	config := fleetssh.HostConfig{Host: name}
	l = &varApplier{inv: inv, host: h, vars: inv.vars(h), config: &config}
	for i := range argumentVars {
		_, value, err := l.text(argumentVars[i : i+1])
		if err == nil && value != "" {
			err = l.arguments(value)
		}
		if err != nil {
			return nil, false
		}
	}
	return l, true
}

// BecomePassword returns the password of a host for sudo (ansible_become_password and its older
// names), empty if the inventory has none. The error is a [*SettingError] if it is encrypted or a
// template.
func (inv *Inventory) BecomePassword(name string) (string, error) {
	h := inv.graph.hosts[name]
	if h == nil || h.line != nil {
		return "", nil
	}
	l := &varApplier{inv: inv, host: h, vars: inv.vars(h)}
	_, value, err := l.text(becomeVars)
	return value, err
}
