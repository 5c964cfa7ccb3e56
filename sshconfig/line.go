package sshconfig

import (
	"errors"
	"strings"
)

// ssh reads a line as follows. The keyword ends at white space, a quote or the first "=", which is
// skipped. The rest is split into words at white space. Single and double quotes protect white
// space. A backslash protects a quote, a backslash and, outside quotes, a space. A word that
// begins with "#" begins a comment.

// keywordEnds are the characters that end a keyword.
const (
	whiteSpace  = " \t\r\n"
	keywordEnds = whiteSpace + `"=`
)

// cutKeyword returns the keyword of a line in lower case, and the rest of the line. The keyword is
// empty for an empty line and a comment.
func cutKeyword(line string) (keyword, rest string) {
	line, _, _ = strings.Cut(line, "\x00")
	line = strings.TrimRight(line, whiteSpace+"\f")
	keyword, rest = cutDelimited(line)
	if keyword == "" { // the line begins with white space or "="
		keyword, rest = cutDelimited(rest)
	}
	if strings.HasPrefix(keyword, "#") {
		return "", ""
	}
	return strings.ToLower(keyword), strings.TrimLeft(rest, whiteSpace)
}

func cutDelimited(s string) (word, rest string) {
	i := strings.IndexAny(s, keywordEnds)
	if i < 0 {
		return s, ""
	}
	if s[i] == '"' {
		quoted, rest, closed := strings.Cut(s[i+1:], `"`)
		if !closed {
			return "", "" // ssh ignores such a line
		}
		return s[:i] + quoted, strings.TrimLeft(rest, whiteSpace)
	}
	rest = strings.TrimLeft(s[i+1:], whiteSpace)
	if s[i] != '=' && strings.HasPrefix(rest, "=") {
		rest = strings.TrimLeft(rest[1:], whiteSpace)
	}
	return s[:i], rest
}

// errQuotes is the error for an unclosed quote.
var errQuotes = errors.New("a quote is not closed")

// splitWords splits the rest of a line after the keyword into words.
func splitWords(s string) ([]string, error) {
	var words []string
	for i := 0; i < len(s); {
		switch {
		case s[i] == ' ' || s[i] == '\t':
			i++
			continue
		case s[i] == '#':
			return words, nil
		}
		word, n, err := cutWord(s[i:])
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		i += n
	}
	return words, nil
}

// cutWord returns the first word of s, and its length in s.
func cutWord(s string) (word string, n int, err error) {
	var b strings.Builder
	var quote byte
	for n = 0; n < len(s); n++ {
		switch c := s[n]; {
		case c == '\\' && n+1 < len(s) && (strings.IndexByte(`'"\`, s[n+1]) >= 0 || quote == 0 && s[n+1] == ' '):
			n++
			b.WriteByte(s[n])
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String(), n, nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", 0, errQuotes
	}
	return b.String(), n, nil
}
