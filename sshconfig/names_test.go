package sshconfig

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config": "Host b a\nHost web* !x c?\nInclude " + filepath.Join(dir, "more") + "\nMatch host z\nHost a *\n  Port 1\n",
		"more":   "Host d\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Load(filepath.Join(dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Names(), []string{"b", "a", "d"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
