package fleetssh

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostSaid is how many bytes of a text from a host an error holds.
const mostSaid = 400

// mostPath is how many bytes of a path an error keeps: what systems allow. A host may name
// any.
const mostPath = 4 << 10

// cut returns s, or its beginning if it is longer than most bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// clip makes a text from outside fit for an error, a warning or a log: without white
// space around it, at most 400 bytes of it, in one line, and without a character that
// does something to a terminal. Everything that a host, a proxy or a file says passes
// through here on its way into an error.
func clip(s string) string { return harmless(s, mostSaid, "") }

// harmless returns at most so many bytes of s, without white space around it. What is
// not to be seen becomes "^[", "\x9b", "\u202e" and the like, but for the characters in keep.
func harmless(s string, most int, keep string) string {
	if len(s) > 8*(most+1) { // the rest would be looked at in vain
		s = s[:8*most]
	}
	s = strings.TrimSpace(s)
	plain := func(r rune) bool { return ' ' <= r && r < 0x7f }
	if len(s) <= most && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		text := s[i : i+size]
		switch {
		case plain(r), unicode.IsGraphic(r) && size > 1, strings.ContainsRune(keep, r):
		case r == utf8.RuneError: // no UTF-8
			text = fmt.Sprintf(`\x%02x`, s[i])
		case r < 0x80:
			text = "^" + string(r^0x40)
		case r < 0xa0:
			text = fmt.Sprintf(`\x%02x`, r)
		case r < 0x10000:
			text = fmt.Sprintf(`\u%04x`, r)
		default:
			text = fmt.Sprintf(`\U%08x`, r)
		}
		if b.Len()+len(text) > most {
			b.WriteString("…")
			break
		}
		b.WriteString(text)
		i += size
	}
	return b.String()
}

// clipList is clip for a list of names, which is cut after as many as fit.
func clipList(names []string) string {
	n, length := 0, 0
	for n < len(names) && length <= mostSaid {
		length += len(names[n]) + len(", ")
		n++
	}
	text := clip(strings.Join(names[:n], ", "))
	if n < len(names) && !strings.HasSuffix(text, "…") {
		text += ", …"
	}
	return text
}
