package shellquote

import (
	"os/exec"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, word, want string }{
		{"plain", "uptime", "uptime"},
		{"path", "/usr/bin/env", "/usr/bin/env"},
		{"empty", "", "''"},
		{"space", "a b", "'a b'"},
		{"single quote", "it's", `'it'\''s'`},
		{"only a quote", "'", `\'`},
		{"double quote", `say "hi"`, `'say "hi"'`},
		{"dollar", "$HOME", "'$HOME'"},
		{"backquote", "`id`", "'`id`'"},
		{"backslash", `a\b`, `'a'\\'b'`},
		{"exclamation mark", "wow!", `'wow'\!`},
		{"newline", "a\nb", "'a\nb'"},
		{"tilde", "~", "'~'"},
		{"equals", "=x", "'=x'"},
		{"glob", "*", "'*'"},
		{"option", "-rf", "-rf"},
		{"unicode", "grüße", "'grüße'"},
		{"not UTF-8", "\xff", "'\xff'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Quote(test.word); got != test.want {
				t.Errorf("Quote(%q) = %s, want %s", test.word, got, test.want)
			}
		})
	}
	if got, want := Join("sh", "-c", "echo it's"), `sh -c 'echo it'\''s'`; got != want {
		t.Errorf("Join = %s, want %s", got, want)
	}
}

// FuzzQuote checks that a real shell reads a quoted word as the original.
func FuzzQuote(f *testing.F) {
	for _, word := range []string{"", "a", "it's", `\`, `\'`, "!!", "a\nb", "$(id)", "\xff\xfe", `'"'"'`, "-n", "%s", "#", " "} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.ContainsRune(word, 0) {
			return
		}
		out, err := exec.Command("sh", "-c", "printf %s. "+Quote(word)).Output()
		if err != nil {
			t.Fatalf("%q: %v", word, err)
		}
		if string(out) != word+"." {
			t.Errorf("sh reads %s as %q, want %q", Quote(word), out, word+".")
		}
	})
}
