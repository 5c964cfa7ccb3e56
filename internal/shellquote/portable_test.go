package shellquote

import (
	"os/exec"
	"strings"
	"testing"
)

// Every login shell passes on the same words, whatever they contain.
func TestPortable(t *testing.T) {
	t.Parallel()
	words := []string{
		"plain", "", "it's", `back\slash`, `\0012`, `\n`, "%s%%", "wow!", "!!", "a\nb", "\n", "two\n\nlines\nand 'quotes'", "$HOME `id` \"x\"", "tab\there", "grüße", "~", "*", "-n", "#", "\xff",
	}
	line := Portable(Join(append([]string{"printf", "%s."}, words...)...))
	if strings.Contains(line, "\n") {
		t.Fatalf("%q contains a newline", line)
	}
	want := strings.Join(words, ".") + "."
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "fish", "tcsh", "busybox sh"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			words := append(strings.Fields(shell), "-c", line)
			out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%q, %v, want %q", out, err, want)
			}
		})
	}
	if got := Portable("echo a"); got != "echo a" {
		t.Errorf("a line without a newline became %q", got)
	}
}
