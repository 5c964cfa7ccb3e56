package sentinel

import (
	"os/exec"
	"strings"
	"testing"
)

// What is sent does not contain the sentinel, and what comes back does, whichever shell
// prints it.
func TestSentinel(t *testing.T) {
	t.Parallel()
	m, other := New(), New()
	if m == other {
		t.Fatalf("%v repeats", m)
	}
	if strings.Contains(m.Escaped(), m.String()) || strings.Trim(m.String(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567%") != "" {
		t.Errorf("%v, %v", m, m.Escaped())
	}
	for _, trace := range m.Traces() {
		if len(trace) < 25 || !strings.Contains(m.Escaped(), trace) || !strings.Contains(m.String(), trace) {
			t.Errorf("%s is no trace of %s", trace, m)
		}
	}
	for _, shell := range [][]string{{"sh"}, {"bash"}, {"dash"}, {"zsh"}, {"fish"}, {"tcsh"}, {"busybox", "sh"}} {
		for _, line := range []string{"printf " + m.Escaped(), "printf %s%s " + m.Left + " " + m.Right} {
			out, err := exec.Command(shell[0], append(shell[1:], "-c", line)...).CombinedOutput()
			if string(out) != m.String() || strings.Contains(line, m.String()) {
				t.Errorf("%s: %s writes %q (%v)", shell, line, out, err)
			}
		}
	}
}
