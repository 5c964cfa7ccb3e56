// Package shellquote knows how a POSIX shell reads words, and writes them so that
// it reads back the same bytes. Every command line that fleetssh builds is quoted
// here.
package shellquote

import "strings"

// Quote returns word so that a shell reads it as one word. What is safe stays as
// it is; everything else stands in single quotes. A word must not hold a NUL byte:
// no shell can be given one.
//
// Single quotes mean the same to sh, bash, dash, ksh, zsh, csh and fish but for
// two characters: csh expands "!" and breaks at a newline even in single quotes,
// and fish reads a backslash before a quote or a backslash as an escape. "!" is
// therefore written as \! outside of the quotes, a backslash as "\\"; both are
// read alike by all of them.
func Quote(word string) string {
	if word != "" && strings.Trim(word, safe) == "" {
		return word
	}
	var b strings.Builder
	b.Grow(len(word) + 2)
	quoted := false // whether b ends inside single quotes
	for i := 0; i < len(word); i++ {
		c := word[i]
		switch c {
		case '\'', '!', '\\':
			if quoted {
				b.WriteByte('\'')
				quoted = false
			}
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			if !quoted {
				b.WriteByte('\'')
				quoted = true
			}
			b.WriteByte(c)
		}
	}
	if quoted || word == "" {
		if word == "" {
			b.WriteByte('\'')
		}
		b.WriteByte('\'')
	}
	return b.String()
}

// Join quotes every word and puts spaces between them.
func Join(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}

// safe holds the characters that mean nothing to any shell, in any place.
const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,@+"
