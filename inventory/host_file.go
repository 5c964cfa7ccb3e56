package inventory

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"fleetssh"
	"fleetssh/hostset"
)

// ParseHosts reads a list of hosts from r: one [user@]host[:port] on each line, followed by
// settings.
//
//	web[01-20].example.com              # a comment
//	admin@db1:2222  key=~/.ssh/db  jump=gate.example.com
//	10.0.0.7        alias=router  password-file=router.pw
//
// A host set may be given instead of a host; the settings then apply to all its hosts. These are
// the settings:
//
//	user=NAME port=N           like user and port in the host
//	address=NAME               the address to connect to, instead of the host
//	alias=NAME                 the name of the host in the inventory
//	key=FILE cert=FILE         a private key and a certificate to log in with
//	password-file=FILE         a file whose first line is the password
//	jump=HOP[,HOP…]            [user@]host[:port] of the hops, or none
//
// Relative file names are relative to the folder of path. path is also the name in errors. "#"
// begins a comment. Quotes or a backslash protect white space; a backslash before a letter is an
// ordinary character, as in DOMAIN\user.
//
// The name of a host is its alias, or the host without user and port. Hosts that would have the
// same name include user and port in it. If a host is listed twice, the settings of the later line
// win.
//
// Settings that are not given come from base. The list may have up to 64 MiB and 1,000,000 hosts.
// The error is a [*ParseError].
func ParseHosts(r io.Reader, path string, base fleetssh.HostConfig) (*Inventory, error) {
	data, err := readAll(r, path)
	if err != nil {
		return nil, err
	}
	inv := newInventory(path, base)
	list := &reader{inv: inv, path: path, text: string(data)}
	if err := list.checkText(); err != nil {
		return nil, err
	}
	if err := list.hostLines(); err != nil {
		return nil, err
	}
	if err := inv.finish(); err != nil {
		return nil, err
	}
	return inv, nil
}

// settings are the settings in a line of a list of hosts. An empty setting means the base's.
type settings struct {
	folder  string // of the list
	target  fleetssh.HostConfig
	address string
	alias   string

	key, cert, passwordFile, jump string
}

// overriddenBy returns the settings of two lines for one host. Those of next win.
func (s *settings) overriddenBy(next *settings) *settings {
	if s == nil || next == nil {
		if next == nil {
			return s
		}
		return next
	}
	both := *next
	for _, field := range []struct{ to, from *string }{
		{&both.target.User, &s.target.User},
		{&both.address, &s.address},
		{&both.key, &s.key},
		{&both.cert, &s.cert},
		{&both.passwordFile, &s.passwordFile},
		{&both.jump, &s.jump},
	} {
		if *field.to == "" {
			*field.to = *field.from
		}
	}
	if both.target.Port == 0 {
		both.target.Port = s.target.Port
	}
	return &both
}

// hostLines reads a list of hosts.
func (r *reader) hostLines() error {
	// Hosts get their names at the end, when duplicate names are known.
	type entry struct {
		*settings
		line int
	}
	var entries []entry
	uses := make(map[string]map[string]bool) // full names, by name
	for number, line := range r.lines {
		fields, err := hostWords(line)
		if err != nil {
			return r.at(number, err)
		}
		if len(fields) == 0 {
			continue
		}
		all, err := r.hostLine(fields)
		if err != nil {
			return r.at(number, err)
		}
		if len(entries)+len(all) > maxHosts {
			return r.fail(number, "more than %d hosts", maxHosts)
		}
		for _, s := range all {
			entries = append(entries, entry{s, number})
			short := s.name()
			if uses[short] == nil {
				uses[short] = make(map[string]bool)
			}
			uses[short][s.fullName()] = true
		}
	}
	for _, e := range entries {
		name := e.name()
		if len(uses[name]) > 1 {
			name = e.fullName()
		}
		h, err := r.inv.graph.host(name)
		if err != nil {
			return r.at(e.line, err)
		}
		h.line = h.line.overriddenBy(e.settings)
	}
	return nil
}

// name returns the name of the host, unless another host has the same name.
func (s *settings) name() string {
	if s.alias != "" {
		return s.alias
	}
	return s.target.Host
}

// fullName returns the name with user and port, which distinguishes hosts with the same name.
func (s *settings) fullName() string {
	if s.alias != "" {
		return s.alias
	}
	text := s.target.Host
	if s.target.Port != 0 {
		text = net.JoinHostPort(text, strconv.Itoa(s.target.Port))
	}
	if s.target.User != "" {
		text = s.target.User + "@" + text
	}
	return text
}

// hostLine parses the fields of a line. It returns the settings of each host.
func (r *reader) hostLine(fields []string) ([]*settings, error) {
	group, ok := strings.CutSuffix(fields[0], ":")
	if _, err := fleetssh.ParseHost(group); ok && err == nil && len(fields) > 1 {
		return nil, fmt.Errorf("%.80q begins a group, as in group files of ClusterShell: --inventory reads those from a groups.conf, and from YAML with %q below the name of a source", fields[0], group+": "+strings.Join(fields[1:], " "))
	}
	set, err := hostset.Parse(fields[0], nil)
	if err != nil {
		return nil, err
	}
	shared := settings{folder: filepath.Dir(r.path)}
	for _, field := range fields[1:] {
		key, value, ok := strings.Cut(field, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("%.80q is not key=value", field)
		}
		if err := shared.set(key, value); err != nil {
			return nil, err
		}
	}
	if set.Len() > 1 && (shared.alias != "" || shared.address != "") {
		return nil, errors.New("alias and address must not be given for several hosts")
	}
	all := make([]*settings, 0, set.Len())
	for name := range set.All() {
		given, err := fleetssh.ParseHost(name)
		if err != nil {
			return nil, err
		}
		s := shared
		s.target = given
		if shared.target.User != "" {
			s.target.User = shared.target.User
		}
		if shared.target.Port != 0 {
			s.target.Port = shared.target.Port
		}
		all = append(all, &s)
	}
	return all, nil
}

// set sets one setting.
func (s *settings) set(key, value string) error {
	switch key {
	case "user":
		s.target.User = value
	case "port":
		port, err := portOf(value)
		s.target.Port = port
		return err
	case "address":
		given, err := fleetssh.ParseHost(value)
		if err == nil && (given.User != "" || given.Port != 0) {
			err = fmt.Errorf("address=%s: user and port are separate settings", value)
		}
		s.address = given.Host
		return err
	case "alias":
		s.alias = value
		return checkName(value)
	case "key":
		s.key = value
	case "cert":
		s.cert = value
	case "password-file":
		s.passwordFile = value
	case "jump":
		s.jump = value
		_, err := parseHops(value)
		return err
	default:
		return fmt.Errorf("unknown key %.80q; the keys are user, port, address, alias, key, cert, password-file and jump", key)
	}
	return nil
}

// apply applies the settings to a configuration.
func (s *settings) apply(inv *Inventory, config *fleetssh.HostConfig) error {
	config.Host = s.target.Host
	if s.address != "" {
		config.Host = s.address
	}
	if s.target.User != "" {
		config.User = s.target.User
	}
	if s.target.Port != 0 {
		config.Port = s.target.Port
	}
	if s.key != "" {
		useKey(&config.Auth, s.path(s.key))
	}
	if s.cert != "" {
		config.Auth.CertFile, config.Auth.CertData, config.Auth.CertFiles = "", nil, []string{s.path(s.cert)}
	}
	fail := func(setting string, err error) error {
		return &SettingError{Host: s.name(), Setting: setting, Reason: err.Error(), err: err}
	}
	if s.passwordFile != "" {
		password, err := inv.password(s.path(s.passwordFile))
		if err != nil {
			return fail("password-file", err)
		}
		config.Auth.Password = password
	}
	if s.jump != "" {
		if err := inv.jump(config, s.jump); err != nil {
			return fail("jump", err)
		}
	}
	return nil
}

// path returns a file name relative to the folder of the list.
func (s *settings) path(name string) string {
	if filepath.IsAbs(name) || strings.HasPrefix(name, "~/") {
		return name
	}
	return filepath.Join(s.folder, name)
}

// useKey replaces all keys by a key file, as ssh's IdentityFile does. The key is offered, not
// required: an unusable key file is not an error of the inventory, and keys of the SSH agent may
// be used instead.
func useKey(auth *fleetssh.Auth, file string) {
	auth.KeyFile, auth.CertFile = "", ""
	auth.KeyData, auth.CertData, auth.Signers = nil, nil, nil
	auth.Identities, auth.CertFiles = []string{file}, nil
}

func portOf(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %.80q is not a number from 1 to 65535", text)
	}
	return int(n), nil
}
