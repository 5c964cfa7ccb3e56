package selection

import (
	"strings"
	"testing"
)

// File names are unique and safe, even where labels differ only in characters that they cannot
// have.
func TestFileNames(t *testing.T) {
	t.Parallel()
	labels := []string{"web1", "a/b", "a_b", ".x", "_x", "web1#1", `a\b`}
	hosts := make([]Host, len(labels))
	for i, label := range labels {
		hosts[i].Label = label
	}
	seen := make(map[string]bool)
	for _, name := range FileNames(hosts) {
		if seen[name] || strings.ContainsAny(name, `/\`) || name[0] == '.' {
			t.Errorf("%q", name)
		}
		seen[name] = true
	}
}
