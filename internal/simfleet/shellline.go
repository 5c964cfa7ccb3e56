package simfleet

import (
	"fmt"
	"slices"
	"strings"
)

// The parser of the simulated shell. It supports POSIX quoting, variables, ";", "&&", "||",
// newlines, comments, redirections of simple commands, and brace groups. Pipelines, command
// substitutions, background jobs and subshells are syntax errors. Other compound commands do not
// exist. Patterns are not expanded, and values of variables are not split into fields.

// simple is one simple command, and the operator that joins it to the command before it.
type simple struct {
	after     string // ";", "&&" or "||"
	words     []word
	redirects []redirect
}

// word is text with variables in it. A word that expands to nothing is dropped unless some of it
// was quoted.
type word struct {
	parts  []part
	quoted bool
}

// part is text, or the name of a variable.
type part struct {
	text     string
	variable bool
}

type redirect struct {
	fd       int
	operator string // ">", ">>", "<", ">&"
	target   word
}

type syntaxError struct{ what string }

func (e syntaxError) Error() string { return "Syntax error: " + e.what }

// lineParser parses a line, from pos on.
type lineParser struct {
	text string
	pos  int
}

func parseLine(text string) ([]simple, error) {
	p := &lineParser{text: text}
	var commands []simple
	current := simple{after: ";"}
	var groups []int // indexes of the first commands of open brace groups
	closed := -1     // index of the first command of the group whose redirections come now, or -1
	next := func(operator string) {
		switch {
		case closed >= 0: // the redirections of a group apply to each of its commands
			for i := closed; i < len(commands); i++ {
				commands[i].redirects = append(slices.Clone(current.redirects), commands[i].redirects...)
			}
			closed, current = -1, simple{}
		case len(current.words)+len(current.redirects) > 0:
			commands = append(commands, current)
			current = simple{}
		}
		current.after = operator
	}
	for {
		p.skipBlanks()
		rest := p.text[p.pos:]
		switch {
		case rest == "":
			if len(groups) > 0 {
				return nil, syntaxError{`end of file unexpected (expecting "}")`}
			}
			next("")
			return commands, nil
		case p.reserved("{") && len(current.words)+len(current.redirects) == 0 && closed < 0:
			if current.after != ";" && current.after != "" {
				return nil, unexpected("{") // groups after && and || are not supported
			}
			p.pos++
			groups = append(groups, len(commands))
		case p.reserved("}") && len(current.words)+len(current.redirects) == 0 && closed < 0 && len(groups) > 0:
			p.pos++
			closed, groups = groups[len(groups)-1], groups[:len(groups)-1]
		case strings.HasPrefix(rest, "&&"), strings.HasPrefix(rest, "||"):
			if len(current.words)+len(current.redirects) == 0 {
				return nil, unexpected(rest[:2])
			}
			p.pos += 2
			next(rest[:2])
		case rest[0] == ';':
			p.pos++
			next(";")
		case rest[0] == '\n':
			p.pos++
			// A newline after "&&" continues the list.
			if len(current.words)+len(current.redirects) > 0 {
				next(";")
			}
		case strings.ContainsRune("&|()`", rune(rest[0])):
			return nil, unexpected(rest[:1])
		case redirectLength(rest) > 0:
			r, err := p.redirect()
			if err != nil {
				return nil, err
			}
			current.redirects = append(current.redirects, r)
		case closed >= 0:
			return nil, unexpected(rest[:1])
		default:
			w, err := p.word()
			if err != nil {
				return nil, err
			}
			current.words = append(current.words, w)
		}
	}
}

// reserved reports whether a reserved word is at pos.
func (p *lineParser) reserved(word string) bool {
	rest, ok := strings.CutPrefix(p.text[p.pos:], word)
	return ok && (rest == "" || strings.IndexByte(" \t\n;&|<>()", rest[0]) >= 0)
}

func unexpected(token string) error { return syntaxError{fmt.Sprintf("%q unexpected", token)} }

// skipBlanks skips blanks, comments and line continuations.
func (p *lineParser) skipBlanks() {
	for p.pos < len(p.text) {
		switch rest := p.text[p.pos:]; {
		case rest[0] == ' ', rest[0] == '\t':
			p.pos++
		case strings.HasPrefix(rest, "\\\n"):
			p.pos += 2
		case rest[0] == '#':
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				p.pos += i
			} else {
				p.pos = len(p.text)
			}
		default:
			return
		}
	}
}

// redirectLength returns the length of the number and operator of a redirection at the beginning of
// text, or 0.
func redirectLength(text string) int {
	n := 0
	if text[0] >= '0' && text[0] <= '9' {
		n = 1
	}
	for _, operator := range []string{">>", ">&", ">", "<"} {
		if strings.HasPrefix(text[n:], operator) {
			return n + len(operator)
		}
	}
	return 0
}

func (p *lineParser) redirect() (redirect, error) {
	token := p.text[p.pos:][:redirectLength(p.text[p.pos:])]
	p.pos += len(token)
	r := redirect{operator: strings.TrimLeft(token, "0123456789"), fd: 1}
	switch {
	case token[0] >= '0' && token[0] <= '9':
		r.fd = int(token[0] - '0')
	case r.operator == "<":
		r.fd = 0
	}
	p.skipBlanks()
	if p.pos == len(p.text) {
		return redirect{}, unexpected("end of file")
	}
	if rest := p.text[p.pos:]; strings.ContainsRune("\n;&|<>()", rune(rest[0])) {
		return redirect{}, unexpected(rest[:1])
	}
	var err error
	r.target, err = p.word()
	return r, err
}

func (p *lineParser) word() (word, error) {
	var w word
	for p.pos < len(p.text) && !strings.ContainsRune(" \t\n;&|<>()", rune(p.text[p.pos])) {
		switch c := p.text[p.pos]; c {
		case '\'':
			end := strings.IndexByte(p.text[p.pos+1:], '\'')
			if end < 0 {
				return w, syntaxError{"Unterminated quoted string"}
			}
			w.add(p.text[p.pos+1:][:end])
			w.quoted = true
			p.pos += end + 2
		case '"':
			p.pos++
			w.quoted = true
			if err := p.doubleQuoted(&w); err != nil {
				return w, err
			}
		case '\\':
			p.escape(&w)
		case '$':
			if err := p.variable(&w); err != nil {
				return w, err
			}
		case '`':
			return w, unexpected("`")
		default:
			w.add(string([]byte{c}))
			p.pos++
		}
	}
	return w, nil
}

// doubleQuoted reads up to the closing quote, and consumes it.
func (p *lineParser) doubleQuoted(w *word) error {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; c {
		case '"':
			p.pos++
			return nil
		case '\\':
			// Inside double quotes a backslash is only special before these.
			if p.pos+1 < len(p.text) && strings.ContainsRune("$`\"\\\n", rune(p.text[p.pos+1])) {
				p.escape(w)
				continue
			}
			w.add(`\`)
			p.pos++
		case '$':
			if err := p.variable(w); err != nil {
				return err
			}
		case '`':
			return unexpected("`")
		default:
			w.add(string([]byte{c}))
			p.pos++
		}
	}
	return syntaxError{"Unterminated quoted string"}
}

func (p *lineParser) escape(w *word) {
	p.pos++
	if p.pos == len(p.text) {
		w.add(`\`)
		return
	}
	if c := p.text[p.pos]; c != '\n' {
		w.add(string([]byte{c}))
		w.quoted = true
	}
	p.pos++
}

// variable reads "$NAME", "${NAME}", "$?", "$$", "$#", "$@" or "$1". A "$" before anything else is
// literal.
func (p *lineParser) variable(w *word) error {
	rest := p.text[p.pos+1:]
	switch {
	case strings.HasPrefix(rest, "("):
		return unexpected("$(")
	case strings.HasPrefix(rest, "{"):
		end := strings.IndexByte(rest, '}')
		if end < 0 || !isName(rest[1:end]) {
			return syntaxError{"Bad substitution"}
		}
		w.parts = append(w.parts, part{text: rest[1:end], variable: true})
		p.pos += end + 2
	case rest != "" && strings.IndexByte("?$#@0123456789", rest[0]) >= 0:
		w.parts = append(w.parts, part{text: rest[:1], variable: true})
		p.pos += 2
	default:
		n := 0
		for n < len(rest) && isName(rest[:n+1]) {
			n++
		}
		if n == 0 {
			w.add("$")
			p.pos++
			return nil
		}
		w.parts = append(w.parts, part{text: rest[:n], variable: true})
		p.pos += 1 + n
	}
	return nil
}

func (w *word) add(text string) {
	if last := len(w.parts) - 1; last >= 0 && !w.parts[last].variable {
		w.parts[last].text += text
		return
	}
	w.parts = append(w.parts, part{text: text})
}

// isArguments reports whether the word is "$@", which expands to one word per argument.
func (w word) isArguments() bool {
	return w.quoted && len(w.parts) == 1 && w.parts[0].variable && w.parts[0].text == "@"
}

// assignment splits a word such as NAME=value into the name and the value.
func (w word) assignment() (name string, value word, ok bool) {
	if len(w.parts) == 0 || w.parts[0].variable {
		return "", word{}, false
	}
	name, text, ok := strings.Cut(w.parts[0].text, "=")
	if !ok || !isName(name) {
		return "", word{}, false
	}
	value.parts = append([]part{{text: text}}, w.parts[1:]...)
	return name, value, true
}

// isName reports whether text can be the name of a variable.
func isName(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}
