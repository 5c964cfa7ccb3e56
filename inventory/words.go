package inventory

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// words splits a line as Ansible does. That is almost what a shell does: quotes and backslashes
// protect characters, but "#" begins a comment even within a word.
func words(line string) ([]string, error) { return cutWords(line, func(byte) bool { return true }) }

// hostWords splits a line of a list of hosts as words does, but outside quotes a backslash
// protects only white space, quotes, "#" and backslashes. Elsewhere it is an ordinary character,
// as in DOMAIN\user.
func hostWords(line string) ([]string, error) {
	return cutWords(line, func(next byte) bool { return strings.IndexByte(" \t\"'#\\", next) >= 0 })
}

// cutWords splits a line into words. protects reports whether a backslash protects the next byte.
func cutWords(line string, protects func(next byte) bool) ([]string, error) {
	var all []string
	var word strings.Builder
	started := false // whether there is a word, which may be empty in quotes
	end := func() {
		if started {
			all = append(all, word.String())
		}
		word.Reset()
		started = false
	}
	for i := 0; i < len(line); {
		c := line[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			end()
			i++
		case '#':
			end()
			return all, nil
		case '\\':
			if i+1 == len(line) {
				return nil, errors.New("nothing after the backslash")
			}
			if !protects(line[i+1]) {
				word.WriteByte(c)
				started = true
				i++
				continue
			}
			_, size := utf8.DecodeRuneInString(line[i+1:])
			word.WriteString(line[i+1 : i+1+size])
			started = true
			i += 1 + size
		case '"', '\'':
			length, err := quoted(&word, line[i:])
			if err != nil {
				return nil, err
			}
			started = true
			i += length
		default:
			word.WriteByte(c)
			started = true
			i++
		}
	}
	end()
	return all, nil
}

// quoted appends the text in the quotes at the beginning of s. It returns their length.
func quoted(word *strings.Builder, s string) (int, error) {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == quote:
			return i + 1, nil
		case c == '\\' && quote == '"' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			c = s[i]
		}
		word.WriteByte(c)
	}
	return 0, errors.New("missing closing quote")
}
