package conn

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"fleetssh/internal/sanitize"
)

// FuzzGreeting records the bytes before SSH begins at once and in two pieces.
func FuzzGreeting(f *testing.F) {
	f.Add([]byte("SSH-2.0-x\r\n"), 3)
	f.Add([]byte("welcome\nSSH-1.5-y\n"), 8)
	f.Add([]byte("HTTP/1.1 400 Bad\r\n\r\n"), 2)
	f.Add([]byte("\x15\x03\x01\x00\x02\x02F"), 1)
	f.Add(bytes.Repeat([]byte("\xff\x1b"), 4000), 5)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		cut = max(0, min(cut, len(data)))
		var one, two Greeting
		errOne := one.record(data)
		errTwo := two.record(data[:cut])
		if errTwo == nil {
			errTwo = two.record(data[cut:])
		}
		if errOne != errTwo || one.version != two.version {
			t.Errorf("at once: %v, %q; in pieces: %v, %q", errOne, one.version, errTwo, two.version)
		}
		if len(one.text) > maxGreeting || len(one.line) > maxGreeting {
			t.Errorf("it keeps %d bytes", len(one.text)+len(one.line))
		}
		said := one.Summary()
		if len(said) > sanitize.MaxLine+len("…") || !utf8.ValidString(said) || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Errorf("%q is not harmless", said)
		}
	})
}
