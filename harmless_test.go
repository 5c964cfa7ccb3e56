package fleetssh

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"fleetssh/internal/transfer"
)

func TestClip(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"plain", "Permission denied", "Permission denied"},
		{"white space around", " \tgo\r\n", "go"},
		{"tab", "a\tb", "a^Ib"},
		{"beyond 16 bits", "a\U000e0001b", `a\U000e0001b`},
		{"lines", "one\r\ntwo", `one^M^Jtwo`},
		{"letters", "Zugriff verweigert: größe 日本", "Zugriff verweigert: größe 日本"},
		{"quotes stay", `say "no" \ it's`, `say "no" \ it's`},
		{"escape", "\x1b]0;title\a", `^[]0;title^G`},
		{"C1", "\u009b31m", `\x9b31m`},
		{"not UTF-8", "a\xff\x80b", `a\xff\x80b`},
		{"order of writing", "a\u202eb\u2066c\u200b", `a\u202eb\u2066c\u200b`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"long", strings.Repeat("x", 401), strings.Repeat("x", 400) + "…"},
		{"long, cut between characters", strings.Repeat("x", 399) + "é", strings.Repeat("x", 399) + "…"},
	} {
		if got := clip(test.text); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	names := strings.Split(strings.Repeat("method,", 40_000), ",")
	if got := clipList(names); len(got) > mostSaid+len(", …") || !strings.HasSuffix(got, "…") {
		t.Errorf("a list of 40,000 names: %d bytes, %q", len(got), got[len(got)-10:])
	}
	if got := clipList([]string{"publickey", "password"}); got != "publickey, password" {
		t.Error(got)
	}
}

// TestLongPath has a host name a file with more than systems allow.
func TestLongPath(t *testing.T) {
	t.Parallel()
	err := copyError("web1", &transfer.Error{Op: "copy", Path: strings.Repeat("é", 50_000), Err: errors.New("no")})
	copied, ok := err.(*CopyError)
	if !ok || len(copied.Path) > mostPath+len("…") || len(err.Error()) > 2*mostSaid || !utf8.ValidString(copied.Path) {
		t.Errorf("a path of %d bytes, an error of %d", len(copied.Path), len(err.Error()))
	}
}

// FuzzGreeting gives what a host may say before SSH begins in two pieces.
func FuzzGreeting(f *testing.F) {
	f.Add([]byte("SSH-2.0-x\r\n"), 3)
	f.Add([]byte("welcome\nSSH-1.5-y\n"), 8)
	f.Add([]byte("HTTP/1.1 400 Bad\r\n\r\n"), 2)
	f.Add([]byte("\x15\x03\x01\x00\x02\x02F"), 1)
	f.Add(bytes.Repeat([]byte("\xff\x1b"), 4000), 5)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		cut = max(0, min(cut, len(data)))
		var one, two greeting
		errOne := one.take(data)
		errTwo := two.take(data[:cut])
		if errTwo == nil {
			errTwo = two.take(data[cut:])
		}
		if errOne != errTwo || one.version != two.version {
			t.Errorf("at once: %v, %q; in pieces: %v, %q", errOne, one.version, errTwo, two.version)
		}
		if len(one.text) > mostGreeting || len(one.line) > mostGreeting {
			t.Errorf("it keeps %d bytes", len(one.text)+len(one.line))
		}
		said := one.said()
		if len(said) > mostSaid+len("…") || !utf8.ValidString(said) || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Errorf("%q is not harmless", said)
		}
	})
}
