package inventory

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// literal returns the value of a Python literal, as in Ansible's INI files: True, 12, 'text', [1,
// 2], {'a': 1}. As in Ansible, everything else is text.
func literal(text string) any {
	p := &literalParser{rest: strings.TrimLeft(text, " \t")}
	if value, ok := p.values(); ok && p.rest == "" {
		return value
	}
	return text
}

// A literalParser parses a literal. Its methods return false, and no reason, for text that is not a
// literal: such text is the value itself.
type literalParser struct {
	rest  string
	depth int
}

// values parses the whole text. With a comma it is a tuple, even without parentheses.
func (p *literalParser) values() (any, bool) {
	p.skip()
	value, ok := p.value()
	if !ok || !p.take(",") {
		return value, ok
	}
	all := []any{value}
	for p.rest != "" {
		value, ok := p.value()
		if !ok {
			return nil, false
		}
		if all = append(all, value); !p.take(",") {
			break
		}
	}
	return all, true
}

// skip skips white space, and a comment at the end.
func (p *literalParser) skip() {
	p.rest = strings.TrimLeft(p.rest, " \t\f")
	if strings.HasPrefix(p.rest, "#") && p.depth == 0 {
		p.rest = ""
	}
}

func (p *literalParser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
		p.skip()
	}
	return ok
}

func (p *literalParser) value() (any, bool) {
	const maxDepth = 60
	if p.depth++; p.depth > maxDepth || p.rest == "" {
		return nil, false
	}
	value, ok := p.valueWithin()
	p.depth--
	p.skip()
	return value, ok
}

func (p *literalParser) valueWithin() (any, bool) {
	switch c := p.rest[0]; {
	case c == '[':
		p.take("[")
		value, _, ok := p.list("]")
		return value, ok
	case c == '(':
		p.take("(")
		value, commas, ok := p.list(")")
		if len(value) == 1 && !commas {
			return value[0], ok
		}
		return value, ok
	case c == '{':
		p.take("{")
		return p.braces()
	case c == '"' || c == '\'':
		return p.strings()
	case c == '+' || c == '-':
		p.take(string(c))
		return p.number(string(c))
	case c == '.' || isDigit(c):
		return p.number("")
	}
	name := p.rest[:len(p.rest)-len(strings.TrimLeftFunc(p.rest, func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }))]
	switch after := p.rest[len(name):]; {
	case len(name) == 1 && strings.ContainsAny(name, "uUrR") && after != "" && (after[0] == '"' || after[0] == '\''):
		return p.strings()
	case name == "True" || name == "False":
		p.rest = after
		return name == "True", true
	case name == "None":
		p.rest = after
		return nil, true
	}
	return nil, false
}

// list parses a list up to its closing bracket. It reports whether there were commas.
func (p *literalParser) list(closing string) (all []any, commas, ok bool) {
	all = []any{}
	for !p.take(closing) {
		value, ok := p.value()
		if !ok {
			return nil, commas, false
		}
		all = append(all, value)
		if p.take(",") {
			commas = true
		} else if !strings.HasPrefix(p.rest, closing) {
			return nil, commas, false
		}
	}
	return all, commas, true
}

// braces parses a dictionary, or a set, which becomes a list.
func (p *literalParser) braces() (any, bool) {
	dict, list := map[string]any{}, []any{}
	for !p.take("}") {
		value, ok := p.value()
		if !ok {
			return nil, false
		}
		switch {
		case p.take(":"):
			key, simple := keyOf(value)
			if value, ok = p.value(); !ok || !simple || len(list) > 0 {
				return nil, false
			}
			dict[key] = value
		case len(dict) > 0:
			return nil, false
		default:
			list = append(list, value)
		}
		if !p.take(",") && !strings.HasPrefix(p.rest, "}") {
			return nil, false
		}
	}
	if len(list) > 0 {
		return list, true
	}
	return dict, true
}

// keyOf returns the key of a dictionary as text.
func keyOf(value any) (string, bool) {
	switch v := value.(type) {
	case nil:
		return "null", true
	case string, bool, json.Number:
		return textOf(v), true
	}
	return "", false
}

// number parses a number after its sign.
func (p *literalParser) number(sign string) (any, bool) {
	end := 0
	for end < len(p.rest) {
		c := p.rest[end]
		exponent := end > 0 && (c == '+' || c == '-') && (p.rest[end-1] == 'e' || p.rest[end-1] == 'E') && !hasBase(p.rest)
		if c != '.' && c != '_' && !isDigit(c) && !isLetter(c) && !exponent {
			break
		}
		end++
	}
	text := p.rest[:end]
	p.rest = p.rest[end:]
	if text == "" || strings.HasPrefix(text, "_") || strings.HasSuffix(text, "_") || strings.Contains(text, "__") {
		return nil, false
	}
	if hasBase(text) {
		base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[text[1]|0x20]
		digits := strings.TrimPrefix(text[2:], "_")
		if digits == "" || base < 16 && strings.ContainsFunc(digits, isNotDecimal) {
			return nil, false
		}
		return intValue(sign, digits, base)
	}
	if !strings.ContainsFunc(text, isNotDecimal) {
		if text[0] == '0' && strings.Trim(text, "0_") != "" {
			return nil, false // 010 is not a number in Python
		}
		return intValue(sign, text, 10)
	}
	// Refuse numbers that strconv accepts and Python does not.
	if strings.Trim(text, "0123456789_.eE+-") != "" || text == "." || strings.Contains(text, "_.") || strings.Contains(text, "._") || strings.ContainsAny(strings.ReplaceAll(text, "_", ""), "_") {
		return nil, false
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 && (strings.HasPrefix(text[i+1:], "_") || strings.HasSuffix(text[:i], "_")) {
		return nil, false
	}
	return floatValue(sign + text)
}

func hasBase(text string) bool {
	return len(text) > 1 && text[0] == '0' && strings.IndexByte("xXoObB", text[1]) >= 0
}

func isNotDecimal(r rune) bool { return r != '_' && (r < '0' || r > '9') }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// strings parses strings in quotes. Adjacent strings are one.
func (p *literalParser) strings() (any, bool) {
	var all strings.Builder
	for {
		raw := false
		if p.rest != "" && strings.IndexByte("uUrR", p.rest[0]) >= 0 && len(p.rest) > 1 {
			raw = p.rest[0]|0x20 == 'r'
			p.rest = p.rest[1:]
		}
		if !p.string(&all, raw) {
			return nil, false
		}
		p.skip()
		next := strings.TrimLeft(p.rest, "uUrR")
		if len(p.rest)-len(next) > 1 || next == "" || next[0] != '"' && next[0] != '\'' {
			return all.String(), true
		}
	}
}

// string parses a string in single or triple quotes.
func (p *literalParser) string(out *strings.Builder, raw bool) bool {
	if p.rest == "" || p.rest[0] != '"' && p.rest[0] != '\'' {
		return false
	}
	quote := p.rest[:1]
	if strings.HasPrefix(p.rest, quote+quote+quote) {
		quote = p.rest[:3]
	}
	p.rest = p.rest[len(quote):]
	for p.rest != "" {
		switch {
		case strings.HasPrefix(p.rest, quote):
			p.rest = p.rest[len(quote):]
			return true
		case p.rest[0] != '\\':
			out.WriteByte(p.rest[0])
			p.rest = p.rest[1:]
		case len(p.rest) == 1:
			return false
		case raw:
			out.WriteString(p.rest[:2])
			p.rest = p.rest[2:]
		default:
			if !p.escape(out) {
				return false
			}
		}
	}
	return false
}

// escape parses an escape sequence.
func (p *literalParser) escape(out *strings.Builder) bool {
	c := p.rest[1]
	if i := strings.IndexByte(`\'"abfnrtv`, c); i >= 0 {
		out.WriteByte("\\'\"\a\b\f\n\r\t\v"[i])
		p.rest = p.rest[2:]
		return true
	}
	digits, base, from := 0, 16, 2
	switch {
	case c == 'x':
		digits = 2
	case c == 'u':
		digits = 4
	case c == 'U':
		digits = 8
	case c == 'N':
		return false // a character by name is not supported
	case '0' <= c && c <= '7':
		base, from, digits = 8, 1, 1
		for digits < 3 && from+digits < len(p.rest) && '0' <= p.rest[from+digits] && p.rest[from+digits] <= '7' {
			digits++
		}
	default:
		out.WriteString(p.rest[:2]) // Python keeps unknown escapes as they are
		p.rest = p.rest[2:]
		return true
	}
	if len(p.rest) < from+digits {
		return false
	}
	r, err := strconv.ParseUint(p.rest[from:from+digits], base, 32)
	if err != nil || !utf8.ValidRune(rune(r)) {
		return false
	}
	out.WriteRune(rune(r))
	p.rest = p.rest[from+digits:]
	return true
}
