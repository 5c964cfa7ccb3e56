// Package sanitize makes text from outside safe to show: what a host, a proxy or a file
// says must not move the cursor of a terminal, forge a line of a log, or fill an error.
package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is how many bytes [Line] keeps.
const MaxLine = 400

// Cut returns s, or its beginning if it is longer than most bytes.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Line returns at most [MaxLine] bytes of s in one line, without white space around it
// and without a character that has an effect on a terminal. Everything that a host, a
// proxy or a file says passes through it on its way into an error, a warning or a log.
func Line(s string) string { return visible(s, MaxLine, "") }

// Lines is Line for a text of several lines, of which it returns at most so many bytes.
func Lines(s string, most int) string { return visible(s, most, "\n") }

// visible returns at most so many bytes of s, without white space around it. A character
// that cannot be seen becomes "^[", "\x9b", "\u202e" and the like, unless it is in keep.
func visible(s string, most int, keep string) string {
	if len(s) > 8*(most+1) { // more could not be kept
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

// List returns the names in one line, as [Line] does. It ends after as many as fit.
func List(names []string) string {
	n, length := 0, 0
	for n < len(names) && length <= MaxLine {
		length += len(names[n]) + len(", ")
		n++
	}
	text := Line(strings.Join(names[:n], ", "))
	if n < len(names) && !strings.HasSuffix(text, "…") {
		text += ", …"
	}
	return text
}
