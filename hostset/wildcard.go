package hostset

import (
	"strings"
	"unicode/utf8"
)

const wildcards = "*?"

// wild reports whether a pattern contains wildcards.
func (pat pattern) wild() bool {
	for _, piece := range pat {
		if strings.ContainsAny(piece.text, wildcards) {
			return true
		}
	}
	return false
}

// matching returns the known hosts that match any of the globs of the term at start.
func (p *parser) matching(globs []string, start int) ([]string, error) {
	if p.known == nil {
		known, err := p.resolve("*", start)
		if err != nil {
			return nil, err
		}
		p.known = append([]string{}, known...) // not nil even if empty
	}
	var names []string
	for _, name := range p.known {
		for i, glob := range globs {
			if match(glob, name) {
				names = append(names, name)
				globs[0], globs[i] = globs[i], globs[0] // neighbouring names often match the same glob
				break
			}
			if err := p.spend(1+len(name)/16, start); err != nil {
				return nil, err
			}
		}
	}
	return names, p.spend(len(p.known), start)
}

// match reports whether a name matches a glob. If a later part does not match, only the last "*"
// takes one more character, so the time is at most proportional to the product of the lengths.
func match(glob, name string) bool {
	afterStar, taken := "", "" // the rest of glob after the last "*", and of name where its match began
	starred := false
	for name != "" || glob != "" {
		switch {
		case glob != "" && glob[0] == '*':
			glob = glob[1:]
			afterStar, taken, starred = glob, name, true
			continue
		case glob != "" && glob[0] == '?' && name != "":
			_, size := utf8.DecodeRuneInString(name)
			glob, name = glob[1:], name[size:]
			continue
		case glob != "" && name != "" && glob[0] == name[0]:
			glob, name = glob[1:], name[1:]
			continue
		case !starred || taken == "":
			return false
		}
		_, size := utf8.DecodeRuneInString(taken)
		taken = taken[size:]
		glob, name = afterStar, taken
	}
	return true
}
