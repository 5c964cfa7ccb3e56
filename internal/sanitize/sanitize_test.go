package sanitize_test

import (
	"strings"
	"testing"

	"fleetssh/internal/sanitize"
)

func TestLine(t *testing.T) {
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
		if got := sanitize.Line(test.text); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	names := strings.Split(strings.Repeat("method,", 40_000), ",")
	if got := sanitize.List(names); len(got) > sanitize.MaxLine+len(", …") || !strings.HasSuffix(got, "…") {
		t.Errorf("a list of 40,000 names: %d bytes, %q", len(got), got[len(got)-10:])
	}
	if got := sanitize.List([]string{"publickey", "password"}); got != "publickey, password" {
		t.Error(got)
	}
}
