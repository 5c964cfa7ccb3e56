package termline

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"plain", "hello, world", "hello, world"},
		{"tab", "a\tb", "a\tb"},
		{"unicode", "é 語 😀 עברית", "é 語 😀 עברית"},
		{"escape", "\x1b[31m", "^[[31m"},
		{"NUL and DEL", "\x00\x7f", "^@^?"},
		{"newline and carriage return", "a\nb\rc", "a^Jb^Mc"},
		{"C1 as a character", "\u009b2J", `\x9b2J`},
		{"C1 as a byte", "\x9b2J", `\x9b2J`},
		{"invalid byte", "a\xff", `a\xff`},
		{"cut character", "\xe8\xaa", `\xe8\xaa`},
		{"replacement character", "\ufffd", "\ufffd"},
		{"direction", "\u202ecod\u2069", `\u202ecod\u2069`},
		{"direction marks stay", "a\u200fb", "a\u200fb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Visible(tt.text); got != tt.want {
				t.Errorf("Visible(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func FuzzVisible(f *testing.F) {
	for _, text := range []string{"", "plain", "\x1b]0;t\x07", "\u009b\x9b", "\u202e\u2066", "\xf0\x9f", "a\tb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Visible(text)
		if !utf8.ValidString(got) {
			t.Fatalf("Visible(%q) = %q is not UTF-8", text, got)
		}
		for _, r := range got {
			if r != '\t' && unicode.IsControl(r) || ControlsTerminal(r) {
				t.Fatalf("Visible(%q) = %q contains %q", text, got, r)
			}
		}
		if again := Visible(got); again != got {
			t.Fatalf("Visible(%q) = %q changes visible text", got, again)
		}
		harmless := utf8.ValidString(text) && !strings.ContainsFunc(text, ControlsTerminal)
		if harmless && got != text {
			t.Fatalf("Visible(%q) = %q changes harmless text", text, got)
		}
		if string(AppendVisible([]byte("x"), text)) != "x"+got {
			t.Fatalf("AppendVisible and Visible differ for %q", text)
		}
	})
}

func BenchmarkAppendVisible(b *testing.B) {
	line := strings.Repeat("an ordinary line of output ", 3)
	var buf []byte
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		buf = AppendVisible(buf[:0], line)
	}
}
