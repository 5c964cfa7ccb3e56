// Package sanitize makes text from hosts, proxies and files safe to show: such text must not move
// the cursor of a terminal, forge a line of a log, or flood an error message.
package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is how many bytes [Line] keeps.
const MaxLine = 400

// Cut returns s, or if it is longer than most bytes, its beginning and "…". It does not change
// control characters.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Line returns s as one line of at most [MaxLine] bytes, without surrounding white space and
// without characters that have an effect on a terminal. All text from hosts, proxies and files
// passes through Line or [Lines] before it becomes part of an error, a warning or a log.
func Line(s string) string { return visible(s, MaxLine, "") }

// Lines is [Line] for text of several lines: it keeps "\n", and returns at most most bytes.
func Lines(s string, most int) string { return visible(s, most, "\n") }

// visible returns at most most bytes of s, without surrounding white space. It writes characters
// that are not visible as "^[", "\x9b" or "\u202e", except those in keep.
func visible(s string, most int, keep string) string {
	if len(s) > 8*(most+1) { // more than that is never kept
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
		case r == utf8.RuneError: // not UTF-8
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

// List returns the names as one line, separated by commas, as [Line] does. If not all names fit, it
// ends with "…".
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
