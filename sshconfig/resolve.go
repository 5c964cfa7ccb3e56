package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A request says for whom the configuration is asked, and what need not be asked.
// What is zero is taken from the configuration.
type request struct {
	ctx            context.Context // of commands and look-ups
	alias          string
	user           string
	port           int
	hostName       string
	hostKeyAlias   string
	jump           string // takes the place of ProxyJump and ProxyCommand
	proxied        bool   // the same, by something that is no hop of ours
	withoutOptions bool   // as hops are asked for
	options        *unit  // lines in the place of those of File.Options
}

// A pass goes once over all lines. The second pass of a request goes on with what
// the first has found. ssh_config(5), "Match", at "final".
type pass struct {
	ctx   context.Context
	file  *File
	alias string
	host  string // what the patterns of Host are compared with
	final bool   // this is the second pass
	got   [][]*line
}

// Resolve returns the settings for an alias, a name as it would be given to ssh: what
// ssh -G prints. A user, if not empty, wins over what the configuration says. The
// error is of type [*Error] if it is about a line.
//
// It runs commands if a Match line says so, for at most ten seconds each and each
// command line once, and looks up names if CanonicalizeHostname does.
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
		if err := p.unit(options, true); err != nil {
			return nil, err
		}
	}
	// As for ssh, a name from a file may be anything.
	if user := p.one(keyUser); user != "" {
		if err := checkUser(user); err != nil {
			return nil, fmt.Errorf("host %s: user %q: %w", r.alias, user, err)
		}
	}
	if err := p.files(); err != nil {
		return nil, err
	}
	p.settle()
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

// errName is for a name that could make a line which a shell reads do something else.
var errName = errors.New("the name holds a character that is not allowed in it")

// checkHostName refuses the names of hosts that ssh refuses.
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

// checkUser refuses the names of users that ssh refuses.
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

// take sets what the request says.
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
	for _, u := range p.file.units {
		if err := p.unit(u, true); err != nil {
			return err
		}
	}
	return nil
}

// unit goes over one file. Where it does not apply, unknown keywords still count.
func (p *pass) unit(u *unit, applies bool) error {
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
	case l.units != nil:
		for _, u := range l.units {
			if err := p.unit(u, active); err != nil {
				return err
			}
		}
	case l.name != "":
		if !matchesList(strings.ToLower(p.one(keyIgnoreUnknown)), l.name) {
			return &Error{File: l.at.file, Line: l.at.line, Keyword: l.text, Err: fmt.Errorf("%q is no keyword of ssh_config", l.name)}
		}
	case l.key != nil && active:
		p.add(l)
	}
	return nil
}

// add keeps a line, if it is the first of its keyword or all lines of that count.
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
		// Whichever comes first wins.
	case len(*got) == 0:
		*got = append(*got, l)
	case l.key.kind == seconds && (*got)[0].values[0] == "none":
		*got = []*line{l} // "none" counts as nothing said
	}
}

// hasJump reports whether ProxyJump names a hop. "none" leaves ProxyCommand its
// chance.
func (p *pass) hasJump() bool {
	l := p.first(keyProxyJump)
	return l != nil && !isNone(l.values[0])
}

// addSendEnv adds the names of a line, and takes those away that it names behind a
// "-".
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

// first returns the line that counts for a keyword, nil if there is none.
func (p *pass) first(k *keyword) *line {
	if got := p.got[k.index]; len(got) > 0 {
		return got[0]
	}
	return nil
}

// one returns the value of a keyword, empty if it has none.
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

// target returns the name of the host as far as it is known.
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
			return "", errNoToken
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
