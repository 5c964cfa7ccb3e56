package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"fleetssh/internal/nearest"
)

// A request says for which host the configuration is resolved, and which settings are given. Zero
// fields are taken from the configuration.
type request struct {
	ctx            context.Context // for commands and look-ups
	alias          string
	user           string
	port           int
	hostName       string
	hostKeyAlias   string
	jump           string      // replaces ProxyJump and ProxyCommand
	proxied        bool        // ProxyJump and ProxyCommand are replaced by something else
	withoutOptions bool        // File.Options do not apply, as for hops
	options        *parsedFile // replaces File.Options
}

// A pass evaluates all lines once. A second pass continues with the settings of the first: see
// ssh_config(5), "Match", "final".
type pass struct {
	ctx   context.Context
	file  *File
	alias string
	host  string // the name to match with the patterns of Host
	final bool   // this is the second pass
	got   [][]*line
}

// Resolve returns the settings for alias, the name of a host as it would be given to ssh. It
// returns what ssh -G prints. user, if not empty, takes precedence over the configuration. The
// error is an [*Error] if it concerns a line.
//
// Resolve runs the commands of Match exec, each command line once and for at most ten seconds. With
// CanonicalizeHostname it looks up names, for at most ten seconds each.
func (f *File) Resolve(alias, user string) (*Settings, error) {
	return f.resolve(request{ctx: context.Background(), alias: alias, user: user})
}

func (f *File) resolve(r request) (*Settings, error) {
	if err := checkHostName(r.alias); err != nil {
		return nil, fmt.Errorf("host %q: %w", r.alias, err)
	}
	p := &pass{ctx: r.ctx, file: f, alias: r.alias, host: r.alias, got: make([][]*line, keywordCount)}
	p.take(r)
	options := f.options
	if r.options != nil {
		options = r.options
	}
	if !r.withoutOptions {
		if err := p.walk(options, true); err != nil {
			return nil, err
		}
	}
	// As in ssh, only names that are given are checked, and not those in files.
	if user := p.one(keyUser); user != "" {
		if err := checkUser(user); err != nil {
			return nil, fmt.Errorf("host %s: user %q: %w", r.alias, user, err)
		}
	}
	if err := p.files(); err != nil {
		return nil, err
	}
	p.setCanonicalDefaults()
	host, err := p.target()
	if err != nil {
		return nil, err
	}
	if host, err = p.canonical(host, r.proxied); err != nil {
		return nil, fmt.Errorf("host %s: %w", r.alias, err)
	}
	if f.final || p.canonicalizes() {
		p.host, p.final = host, true
		at := origin{file: fromDefault}
		if l := p.first(keyHostName); l != nil {
			at = l.at
		}
		p.got[keyHostName.index] = []*line{{at: at, key: keyHostName, values: []string{host}}}
		if err := p.files(); err != nil {
			return nil, err
		}
	}
	return p.settings(host)
}

// errName is the error for a name that could change the meaning of a command line.
var errName = errors.New("the name contains a character that is not allowed")

// checkHostName refuses host names that ssh refuses.
func checkHostName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case name[0] == '-':
		return errors.New(`the name begins with "-"`)
	case strings.ContainsAny(name, "'`\"$\\;&<>|(){},") || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return errName
	}
	return nil
}

// checkUser refuses user names that ssh refuses.
func checkUser(name string) error {
	dashed := func(word string) bool { return strings.HasPrefix(word, "-") }
	switch {
	case name == "":
		return errors.New("the name is empty")
	case strings.ContainsAny(name, "'`\";&<>|(){}"), strings.HasSuffix(name, `\`), slices.ContainsFunc(strings.Fields(name), dashed):
		return errName
	}
	return nil
}

// take sets the settings of the request.
func (p *pass) take(r request) {
	set := func(k *keyword, value string) {
		if value != "" {
			p.got[k.index] = []*line{{at: origin{file: fromCaller}, key: k, values: []string{value}, text: value}}
		}
	}
	set(keyUser, r.user)
	if r.port != 0 {
		set(keyPort, strconv.Itoa(r.port))
	}
	set(keyHostName, strings.ReplaceAll(r.hostName, "%", "%%"))
	set(keyHostKeyAlias, r.hostKeyAlias)
	set(keyProxyJump, r.jump)
	if r.proxied {
		set(keyProxyCommand, "none")
	}
}

func (p *pass) files() error {
	for _, u := range p.file.files {
		if err := p.walk(u, true); err != nil {
			return err
		}
	}
	return nil
}

// walk evaluates one file. Unknown keywords are errors even if the file does not apply.
func (p *pass) walk(u *parsedFile, applies bool) error {
	for i := range u.sections {
		s := &u.sections[i]
		active := applies
		if applies && s.when != nil {
			var err error
			if active, err = p.holds(s.when); err != nil {
				return err
			}
		}
		lines := s.always
		if active {
			lines = s.lines
		}
		for _, l := range lines {
			if err := p.line(l, active); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pass) line(l *line, active bool) error {
	switch {
	case l.included != nil:
		for _, u := range l.included {
			if err := p.walk(u, active); err != nil {
				return err
			}
		}
	case l.name != "":
		if !matchesList(strings.ToLower(p.one(keyIgnoreUnknown)), l.name) {
			text := fmt.Sprintf("%q is not a keyword of ssh_config", l.name)
			if near := nearest.Names(l.name, slices.Sorted(maps.Keys(keywords))); near != nil {
				text += "; " + nearest.Hint(near)
			}
			return &Error{File: l.at.file, Line: l.at.line, Keyword: l.text, Err: errors.New(text)}
		}
	case l.key != nil && active:
		p.add(l)
	}
	return nil
}

// add adds a line if it is the first with its keyword, or if all lines with the keyword count.
func (p *pass) add(l *line) {
	got := &p.got[l.key.index]
	switch {
	case l.key == keySendEnv:
		*got = addSendEnv(*got, l)
	case l.key.role == gathered:
		same := func(o *line) bool { return o.values[0] == l.values[0] }
		if !slices.ContainsFunc(*got, same) {
			*got = append(*got, l)
		}
	case l.key == keyProxyJump && p.first(keyProxyCommand) != nil, l.key == keyProxyCommand && p.hasJump():
		// The first of ProxyJump and ProxyCommand wins.
	case len(*got) == 0:
		*got = append(*got, l)
	case l.key.kind == seconds && (*got)[0].values[0] == "none":
		*got = []*line{l} // "none" means not set
	}
}

// hasJump reports whether ProxyJump names a hop. After "ProxyJump none", ProxyCommand can still be
// set.
func (p *pass) hasJump() bool {
	l := p.first(keyProxyJump)
	return l != nil && !isNone(l.values[0])
}

// addSendEnv adds the names in a line, and removes the names that match patterns after "-".
func addSendEnv(got []*line, l *line) []*line {
	for _, value := range l.values {
		if pattern, remove := strings.CutPrefix(value, "-"); remove {
			got = slices.DeleteFunc(slices.Clone(got), func(o *line) bool { return matches(pattern, o.values[0]) })
			continue
		}
		if !slices.ContainsFunc(got, func(o *line) bool { return o.values[0] == value }) {
			one := *l
			one.values = []string{value}
			got = append(got, &one)
		}
	}
	return got
}

// first returns the first line with a keyword, nil if there is none.
func (p *pass) first(k *keyword) *line {
	if got := p.got[k.index]; len(got) > 0 {
		return got[0]
	}
	return nil
}

// one returns the value of a keyword, empty if it is not set.
func (p *pass) one(k *keyword) string {
	if l := p.first(k); l != nil {
		return l.values[0]
	}
	return ""
}

func (p *pass) user() string {
	if user := p.one(keyUser); user != "" {
		return user
	}
	return p.file.local.user
}

func (p *pass) port() int {
	if n, err := strconv.Atoi(p.one(keyPort)); err == nil {
		return n
	}
	return 22
}

// target returns the host name as far as it is known.
func (p *pass) target() (string, error) {
	l := p.first(keyHostName)
	if l == nil || p.final {
		if l != nil {
			return l.values[0], nil
		}
		return p.alias, nil
	}
	host, err := expandPercent(l.values[0], func(c byte) (string, error) {
		if c != 'h' {
			return "", errUnknownToken
		}
		return p.alias, nil
	})
	if err != nil {
		return "", l.at.errorf("HostName: %w", err)
	}
	return host, nil
}

// tokens returns the values of tokens as far as they are known.
func (p *pass) tokens(host string) *tokens {
	t := &tokens{local: p.file.local, alias: p.alias, host: host, user: p.user(), port: p.port(), key: p.one(keyHostKeyAlias)}
	if t.key == "" {
		t.key = p.alias
	}
	if p.hasJump() {
		if hops, err := parseJumps(p.one(keyProxyJump)); err == nil {
			t.jump = hops[len(hops)-1].host
		}
	}
	return t
}
