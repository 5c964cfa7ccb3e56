package sshconfig

import (
	"cmp"
	"slices"
	"strings"
)

// Settings are the effective settings of one host. They come from [File.Resolve] or
// [File.HostContext], and must not be modified. Their methods may be called by multiple goroutines
// at once.
type Settings struct {
	Alias    string // the name given to Resolve
	HostName string // the name or address to connect to
	User     string // the login name; by default the local user
	Port     int    // by default 22

	got         [][]*line
	local       *local
	controlPath string   // in the form of HostConfig
	keyCommand  []string // KnownHostsCommand, in the form of HostConfig
	notes       []Unsupported
}

// A Value is one effective value of a keyword.
type Value struct {
	Keyword string // in the spelling of ssh_config(5)
	Value   string // with tokens and variables replaced
	Origin  string // "file:line", "-o", "argument" for an argument of Host or Resolve, or "default"
}

// settings returns the settings that the passes have found.
func (p *pass) settings(host string) (*Settings, error) {
	s := &Settings{Alias: p.alias, HostName: host, User: p.user(), Port: p.port(), got: p.got, local: p.file.local}
	at := origin{file: fromDefault}
	if l := p.first(keyHostName); l != nil {
		at = l.at
	}
	s.got[keyHostName.index] = []*line{{at: at, key: keyHostName, values: []string{host}, text: host}}
	t := p.tokens(host)
	if l := p.first(keyControlPath); l != nil && !isNone(l.values[0]) {
		var err error
		if s.controlPath, err = t.controlPath(l.values[0]); err != nil {
			return nil, l.at.errorf("ControlPath: %w", err)
		}
	}
	if l := p.first(keyKnownHostsCommand); l != nil && !isNone(l.values[0]) {
		var err error
		if s.keyCommand, err = t.knownHostsCommand(l.values[0]); err != nil {
			return nil, l.at.errorf("KnownHostsCommand: %w", err)
		}
	}
	if err := s.expand(t); err != nil {
		return nil, err
	}
	if err := s.checkLoop(); err != nil {
		return nil, err
	}
	s.notes = s.review()
	return s, nil
}

// expand replaces tokens and variables in the values that may contain them.
func (s *Settings) expand(t *tokens) error {
	basic := func(v string) (string, error) { return expandPercent(v, t.basic) }
	for _, e := range []struct {
		key    *keyword
		expand func(string) (string, error)
	}{
		{keyIdentityFile, t.path},
		{keyCertificateFile, t.path},
		{keyUserKnownHosts, t.path},
		{keyGlobalKnownHosts, t.local.expandTilde},
		{keyRevokedHostKeys, t.path},
		{keyControlPath, t.path},
		{keyIdentityAgent, unlessVariable(t.path)},
		{keyForwardAgent, unlessVariable(t.path)},
		{keyProxyJump, basic},
	} {
		got := s.got[e.key.index]
		for i, l := range got {
			expanded := *l
			expanded.values = make([]string, len(l.values))
			for j, v := range l.values {
				var err error
				if !isNone(v) {
					if v, err = e.expand(v); err != nil {
						return l.at.errorf("%s: %w", l.key.name, err)
					}
				}
				expanded.values[j] = v
			}
			if i == 0 {
				got = slices.Clone(got) // other hosts share the lines
			}
			got[i] = &expanded
		}
		s.got[e.key.index] = got
	}
	return nil
}

// unlessVariable returns expand for values other than "$NAME", which is looked up when it is used.
func unlessVariable(expand func(string) (string, error)) func(string) (string, error) {
	return func(v string) (string, error) {
		if strings.HasPrefix(v, "$") && !strings.HasPrefix(v, "${") {
			return v, nil
		}
		return expand(v)
	}
}

// defaults are ssh's default values of keywords that have an effect. The defaults of fleetssh may
// differ: see [fleetssh.HostConfig].
var defaults = []struct {
	key   *keyword
	value string
}{
	{keyAddressFamily, "any"}, {keyBatchMode, "no"}, {keyCheckHostIP, "no"}, {keyConnectTimeout, "none"},
	{keyConnectionAttempts, "1"}, {keyForwardAgent, "no"}, {keyGSSAPI, "no"}, {keyGSSAPIDelegate, "no"},
	{keyHashKnownHosts, "no"}, {keyIdentitiesOnly, "no"}, {keyKbdInteractive, "yes"}, {keyPassword, "yes"},
	{keyPubkey, "yes"}, {keyServerAliveCountMax, "3"}, {keyServerAliveInterval, "0"}, {keyStrict, "ask"},
}

// All returns the effective values, sorted by keyword: the values of the configuration that have an
// effect, and ssh's defaults for keywords that are not set.
func (s *Settings) All() []Value {
	var all []Value
	for _, got := range s.got {
		if len(got) > 0 && got[0].key.role != unsupported {
			all = append(all, valuesOf(got)...)
		}
	}
	add := func(k *keyword, value string) {
		if len(s.got[k.index]) == 0 {
			all = append(all, Value{k.name, value, fromDefault})
		}
	}
	add(keyUser, s.User)
	add(keyPort, "22")
	for _, d := range defaults {
		add(d.key, d.value)
	}
	slices.SortStableFunc(all, func(a, b Value) int {
		return cmp.Compare(strings.ToLower(a.Keyword), strings.ToLower(b.Keyword))
	})
	return all
}

// Values returns the values of a keyword, in the order in which ssh uses them. name may be in any
// case. Values returns none if the configuration does not set the keyword, or if it is meaningless
// to fleetssh.
func (s *Settings) Values(name string) []Value {
	k := keywords[strings.ToLower(name)]
	if k == nil || k.role == ignored {
		return nil
	}
	return valuesOf(s.got[k.index])
}

func valuesOf(got []*line) []Value {
	var values []Value
	for _, l := range got {
		for _, v := range l.values {
			values = append(values, Value{l.key.name, v, l.at.String()})
		}
	}
	return values
}

// SetEnv returns the variables that SetEnv sets, nil if there are none. [File.Host] puts them into
// SendEnv of [fleetssh.HostConfig], together with the local variables that match
// [Settings.SendEnv].
func (s *Settings) SetEnv() map[string]string {
	var env map[string]string
	for _, v := range s.strings(keySetEnv) {
		name, value, _ := strings.Cut(v, "=")
		if env == nil {
			env = make(map[string]string)
		}
		env[name] = value
	}
	return env
}

// SendEnv returns the patterns of the names of local variables to send.
func (s *Settings) SendEnv() []string { return s.strings(keySendEnv) }

// environment returns the variables that SendEnv and SetEnv send, given the local variables.
// Variables of SetEnv win.
func (s *Settings) environment(here []string) map[string]string {
	env := s.SetEnv()
	patterns := s.SendEnv()
	for _, variable := range here {
		name, value, _ := strings.Cut(variable, "=")
		wanted := name != "" && slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, name) })
		if _, set := env[name]; set || !wanted || len(env) == maxVariables || len(variable) > maxVariable {
			continue
		}
		if env == nil {
			env = make(map[string]string)
		}
		env[name] = value
	}
	return env
}

// The limits of SendEnv. sshd accepts no more variables in a session.
const (
	maxVariables = 128
	maxVariable  = 8 << 10 // bytes
)

// Unsupported returns the lines that apply to this host, matter to ssh, and have no effect in
// fleetssh, or not their full effect.
func (s *Settings) Unsupported() []Unsupported { return slices.Clone(s.notes) }

// first returns the first line with a keyword, nil if there is none.
func (s *Settings) first(k *keyword) *line {
	if got := s.got[k.index]; len(got) > 0 {
		return got[0]
	}
	return nil
}

// one returns the value of a keyword, empty if it is not set.
func (s *Settings) one(k *keyword) string {
	if l := s.first(k); l != nil {
		return l.values[0]
	}
	return ""
}

// strings returns all values of a keyword.
func (s *Settings) strings(k *keyword) []string {
	var all []string
	for _, l := range s.got[k.index] {
		all = append(all, l.values...)
	}
	return all
}
