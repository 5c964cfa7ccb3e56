package hostset

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// term reads a term, which ends at the next operator, and returns its names.
func (p *parser) term() ([]string, error) {
	start := p.pos
	if p.expr[start] == '@' {
		p.pos++
		return p.group(start)
	}
	pat, err := p.pattern(start)
	if err != nil {
		return nil, err
	}
	names, err := p.expand(pat, start)
	if err != nil || !pat.wild() {
		return names, err
	}
	return p.matching(names, start)
}

// group reads the name of a group, whose "@" is at start. Like the name of a host, it may have
// ranges.
func (p *parser) group(start int) ([]string, error) {
	pat, err := p.pattern(-1)
	if err != nil {
		return nil, err
	}
	if len(pat) == 0 {
		return nil, p.fail(start, `no name after "@"`)
	}
	groups, err := p.expand(pat, start)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, group := range groups {
		// "*" and "source:*" are names; source is the text before the star.
		source, all := strings.CutSuffix(group, "*")
		all = all && (source == "" || strings.HasSuffix(source, ":"))
		if strings.ContainsAny(source, wildcards) || source != group && !all {
			return nil, p.fail(start, `wildcards match hosts, not groups; "@*" means all hosts`)
		}
		more, err := p.resolve(group, start)
		if err != nil {
			return nil, err
		}
		if names = append(names, more...); len(names) > maxNames {
			return nil, p.fail(start, tooManyNames)
		}
	}
	return names, nil
}

// resolve returns the names of one group.
func (p *parser) resolve(group string, at int) ([]string, error) {
	if p.groups == nil {
		return nil, p.fail(at, "@%s: no groups are defined", group)
	}
	trail := append(slices.Clip(p.trail), group)
	if i := slices.Index(p.trail, group); i >= 0 {
		return nil, p.fail(at, "group contains itself: @%s", strings.Join(trail[i:], ", @"))
	}
	if len(trail) > maxDepth {
		return nil, p.fail(at, "groups more than %d deep", maxDepth)
	}
	expr, err := p.groups(group)
	if err == nil {
		const lookup = 100
		if err = p.spend(lookup+len(expr), at); err != nil {
			return nil, err
		}
		var set Set
		inner := &parser{expr: expr, trail: trail, shared: p.shared}
		if set, err = inner.set(); err == nil {
			return set.names, nil
		}
	}
	return nil, &ParseError{
		Expr:   p.expr,
		Offset: at,
		Reason: "@" + group + ": " + err.Error(),
		err:    err,
	}
}

// spend adds to the work done, and fails if it is too much.
func (p *parser) spend(work, at int) error {
	if p.work += work; p.work > maxWork {
		return p.fail(at, tooMuchWork)
	}
	return nil
}

// pattern reads a name, with or without ranges. A bracket that contains colons is an IPv6 address
// if it stands at offset host or after a later "@": the host part starts there, since ssh ends the
// user at the last "@".
func (p *parser) pattern(host int) (pattern, error) {
	var pat pattern
	text := p.pos // the start of the text that is not in pat yet
	for p.pos < len(p.expr) {
		c := p.expr[p.pos]
		if strings.IndexByte(space+operators, c) >= 0 {
			break
		}
		if c != '[' {
			if err := p.character(); err != nil {
				return nil, err
			}
			if c == '@' {
				host = p.pos
			}
			continue
		}
		length := strings.IndexByte(p.expr[p.pos:], ']')
		if length < 0 {
			return nil, p.fail(p.pos, `missing "]"`)
		}
		inside := p.expr[p.pos+1 : p.pos+length]
		if p.pos == host && strings.Contains(inside, ":") {
			if err := p.address(inside); err != nil {
				return nil, err
			}
			continue
		}
		if text < p.pos {
			pat = append(pat, piece{text: p.expr[text:p.pos]})
		}
		spans, err := p.spans(inside)
		if err != nil {
			return nil, err
		}
		if pat = append(pat, piece{spans: spans}); len(pat) > maxName {
			return nil, p.fail(p.pos, tooLongName)
		}
		text = p.pos
	}
	if text < p.pos {
		pat = append(pat, piece{text: p.expr[text:p.pos]})
	}
	return pat, nil
}

// character reads one character of a name.
func (p *parser) character() error {
	switch c := p.expr[p.pos]; {
	case c == ']':
		return p.fail(p.pos, `"]" without "["`)
	case strings.IndexByte(wildcards, c) >= 0 && p.groups == nil:
		return p.fail(p.pos, "wildcards need a list of known hosts")
	case ' ' < c && c <= '~':
		p.pos++
		return nil
	}
	r, size := utf8.DecodeRuneInString(p.expr[p.pos:])
	if r == utf8.RuneError && size == 1 {
		return p.fail(p.pos, "not UTF-8")
	}
	if !unicode.IsPrint(r) {
		return p.fail(p.pos, "unprintable character %q", r)
	}
	p.pos += size
	return nil
}

// address reads an IPv6 address in brackets.
func (p *parser) address(inside string) error {
	addr, err := netip.ParseAddr(inside)
	if err != nil || strings.ContainsAny(addr.Zone(), "["+space+operators) {
		return p.fail(p.pos+1, "not an IPv6 address: %q", inside[:min(len(inside), shownExpr)])
	}
	if strings.ContainsAny(inside, wildcards) {
		return p.fail(p.pos+1, "no wildcards in an address")
	}
	// netip accepts any text as a zone.
	end := p.pos + len("[") + len(inside)
	for p.pos++; p.pos < end; {
		if err := p.character(); err != nil {
			return err
		}
	}
	p.pos++
	if p.pos < len(p.expr) && strings.IndexByte(space+operators+":", p.expr[p.pos]) < 0 {
		return p.fail(p.pos, "only a port may follow an address")
	}
	return nil
}
