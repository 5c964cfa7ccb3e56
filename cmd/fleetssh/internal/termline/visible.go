package termline

import (
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// Visible returns text with control characters made visible; see [AppendVisible].
func Visible(text string) string {
	if firstUnsafe(text) == len(text) {
		return text
	}
	return string(AppendVisible(nil, text))
}

// visibleLines is Visible for text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Visible(line)
	}
	return strings.Join(lines, "\n")
}

// AppendVisible appends text, at most one line, to dst with control characters made visible: control
// characters except tab become "^[" and the like, C1 controls and bytes that are not UTF-8 become
// "\x9b", and characters that change the direction of writing become "\u202e". All other text is
// unchanged.
func AppendVisible(dst []byte, text string) []byte {
	for {
		n := firstUnsafe(text)
		dst = append(dst, text[:n]...)
		if n == len(text) {
			return dst
		}
		r, size := utf8.DecodeRuneInString(text[n:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = appendHex(dst, text[n])
		case r < utf8.RuneSelf:
			dst = append(dst, '^', byte(r)^0x40)
		case r < 0xa0:
			dst = appendHex(dst, byte(r))
		default:
			dst = append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		}
		text = text[n+size:]
	}
}

func appendHex(dst []byte, b byte) []byte {
	return append(dst, '\\', 'x', hexDigits[b>>4], hexDigits[b&15])
}

// firstUnsafe returns the index of the first character that must be made visible,
// or the length of text.
func firstUnsafe(text string) int {
	for i := 0; i < len(text); {
		b := text[i]
		if b < utf8.RuneSelf {
			if b < ' ' && b != '\t' || b == 0x7f {
				return i
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 || ControlsTerminal(r) {
			return i
		}
		i += size
	}
	return len(text)
}

// ControlsTerminal reports whether a terminal may act on r instead of showing it.
func ControlsTerminal(r rune) bool {
	switch {
	case r < ' ':
		return r != '\t'
	case 0x7f <= r && r < 0xa0:
		return true
	case 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069:
		return true // they change the direction of writing, so that text is shown in another order
	}
	return false
}
