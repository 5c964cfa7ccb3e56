package sshconfig

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"fleetssh/internal/account"
)

// tokens are the values of tokens: see ssh_config(5), "TOKENS".
type tokens struct {
	local                  *local
	alias, host, user, key string // %n %h %r %k
	port                   int
	jump                   string // %j
	hash                   string // %C; empty: computed from the others
}

// expand replaces the tokens that most keywords accept.
func (t *tokens) expand(s string) (string, error) {
	return expandPercent(s, func(c byte) (string, error) {
		switch c {
		case 'C':
			if t.hash != "" {
				return t.hash, nil
			}
			return fmt.Sprintf("%x", sha1.Sum([]byte(t.local.name+t.host+strconv.Itoa(t.port)+t.user+t.jump))), nil
		case 'd':
			return known(t.local.home)
		case 'i':
			return t.local.uid, nil
		case 'j':
			return t.jump, nil
		case 'k':
			return t.key, nil
		case 'L':
			return t.local.shortName, nil
		case 'l':
			return t.local.name, nil
		case 'u':
			return known(t.local.user)
		}
		return t.basic(c)
	})
}

// basic returns the value of a token that ProxyCommand and ProxyJump accept.
func (t *tokens) basic(c byte) (string, error) {
	switch c {
	case 'h':
		return t.host, nil
	case 'n':
		return t.alias, nil
	case 'p':
		return strconv.Itoa(t.port), nil
	case 'r':
		return known(t.user)
	}
	return "", errUnknownToken
}

// errUnknownToken is the error for an unknown token.
var errUnknownToken = errors.New("is not a token that is allowed here")

// known returns a value about the user, or an error if it is unknown.
func known(value string) (string, error) {
	if value == "" {
		return "", account.ErrNoEntry
	}
	return value, nil
}

// path replaces a leading "~", tokens and variables in a file name.
func (t *tokens) path(s string) (string, error) {
	s, err := t.local.expandTilde(s)
	if err != nil {
		return "", err
	}
	return expandVariables(s, t.expand)
}

// controlPath is like path, but keeps %C, which [fleetssh.HostConfig] replaces: its value depends
// on the version of the ssh that listens. NUL represents it meanwhile, since neither lines nor the
// environment contain NUL.
func (t *tokens) controlPath(s string) (string, error) {
	marked := *t
	marked.hash = "\x00"
	path, err := marked.path(s)
	return strings.ReplaceAll(strings.ReplaceAll(path, "%", "%%"), "\x00", "%C"), err
}

// expandPercent replaces each "%" and the character after it by a value, and "%%" by "%".
func expandPercent(s string, value func(c byte) (string, error)) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", errors.New(`it ends with "%"; write "%%" for a percent sign`)
		}
		v, err := "%", error(nil)
		if s[i] != '%' {
			v, err = value(s[i])
		}
		if err == errUnknownToken {
			return "", fmt.Errorf("%q %w", s[i-1:i+1], err)
		}
		if err != nil {
			return "", fmt.Errorf("%q: %w", s[i-1:i+1], err)
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// expandVariables replaces "${NAME}" by variables of the environment, and applies between to the
// text between them.
func expandVariables(s string, between func(string) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		text, err := between(before)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		name, left, closed := strings.Cut(after, "}")
		if !closed || name == "" {
			return "", errors.New(`"${" is not the beginning of a variable`)
		}
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("the variable %s is not set", name)
		}
		b.WriteString(value)
		s = left
	}
}
