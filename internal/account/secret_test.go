package account

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A secret is the whole first line of a file. A longer line is an error: a part of it would be tried
// at the hosts.
func TestReadSecret(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("x", MaxSecret)
	for _, test := range []struct{ name, text, secret, problem string }{
		{"line", "sesame\nmore\n", "sesame", ""},
		{"no end", " sesame ", " sesame ", ""},
		{"Windows", "sesame\r\n", "sesame", ""},
		{"longest", longest + "\r\n" + longest, longest, ""},
		{"longer", longest + "x\n", "", "longer than 4096 bytes"},
		{"endless", longest + longest, "", "longer than 4096 bytes"},
		{"empty", "", "", "the first line is empty"},
		{"empty line", "\nsesame\n", "", "the first line is empty"},
	} {
		name := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(name, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		secret, err := ReadSecret(name)
		if secret != test.secret || (err == nil) != (test.problem == "") {
			t.Errorf("%s: %d bytes, %v", test.name, len(secret), err)
		}
		if err != nil && (!strings.Contains(err.Error(), test.problem) || !strings.Contains(err.Error(), name)) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := ReadSecret(filepath.Join(t.TempDir(), "secret")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
