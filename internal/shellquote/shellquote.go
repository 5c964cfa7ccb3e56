// Package shellquote quotes words for shells. It is the only place that quotes: every command line
// that fleetssh builds uses it.
package shellquote

import "strings"

// Quote returns word quoted so that a shell reads it as one word. A word of safe characters is
// returned as it is; any other is put in single quotes. The word must not contain a NUL byte,
// which no shell accepts.
//
// Single quotes mean the same to sh, bash, dash, ksh, zsh, csh and fish, with these exceptions:
// csh expands "!" and ends the command at a newline even in single quotes, and fish reads a
// backslash before a quote or a backslash as an escape. Quote therefore writes "!" as \! and a
// backslash as \\ outside the quotes, which all of them read in the same way. For newlines see
// [Portable].
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

// Join quotes each word and joins them with spaces.
func Join(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}

// safe is the set of characters that have no special meaning in any shell, wherever they stand.
const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,@+"
