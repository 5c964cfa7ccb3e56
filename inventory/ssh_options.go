package inventory

import (
	"errors"
	"strings"

	"fleetssh"
	"fleetssh/sshconfig"
)

// An Ignored is an option of ssh that an inventory gives to a host and that has no effect.
type Ignored = sshconfig.Unsupported

// optionsKey tells the configurations of ssh apart that hosts of an inventory have: the
// same one is read once, and its hops and policies are shared.
type optionsKey struct{ file, options string }

// configure puts over the base what the arguments of ssh say beside what is known here, as
// ssh would read it: what is set already wins.
func (l *login) configure() error {
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

// plainReason leaves out where an error is, if it is in an option: the variable that it
// stands in is named anyway.
func plainReason(err error) error {
	if e, ok := errors.AsType[*sshconfig.Error](err); ok && e.File == "-o" {
		return e.Err
	}
	return err
}

// sshFile returns a configuration of ssh with some options. Without a path it holds nothing
// but these.
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

// OwnConfiguration reports whether a host is given a configuration of ssh of its own (-F in
// the arguments of ssh), which takes the place of that of the user.
func (inv *Inventory) OwnConfiguration(name string) bool {
	l, ok := inv.arguments(name)
	return ok && l.file != ""
}

// Ignored returns the options of ssh that are given to a host and have no effect.
func (inv *Inventory) Ignored(name string) []Ignored {
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

// arguments reads what a host says to ssh. It is false if there is nothing, or if that is an
// error, which using the host tells.
func (inv *Inventory) arguments(name string) (*login, bool) {
	h := inv.graph.hosts[name]
	if h == nil || h.line != nil {
		return nil, false
	}
	config := fleetssh.HostConfig{Host: name}
	l := &login{inv: inv, host: h, vars: inv.vars(h), config: &config}
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

// BecomePassword returns what a host says that sudo is to be given (ansible_become_password
// and its older names), empty if it says nothing. The error is a [*SettingError] for one that
// is encrypted, or a template.
func (inv *Inventory) BecomePassword(name string) (string, error) {
	h := inv.graph.hosts[name]
	if h == nil || h.line != nil {
		return "", nil
	}
	l := &login{inv: inv, host: h, vars: inv.vars(h)}
	_, value, err := l.text(becomeVars)
	return value, err
}
