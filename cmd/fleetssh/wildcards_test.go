package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestExpandWildcards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.conf", "b.conf", ".hidden.conf", "sub/c.conf", ".dot/d.conf", "x*.txt", "x1.txt"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name        string
		given, want []string
	}{
		{"no wildcard", []string{"a.conf"}, []string{"a.conf"}},
		{"several files", []string{"*.conf"}, []string{"a.conf", "b.conf"}},
		{"one character", []string{"?.conf", "sub"}, []string{"a.conf", "b.conf", "sub"}},
		{"characters", []string{"[b-c].conf"}, []string{"b.conf"}},
		{"directories", []string{"*/*.conf"}, []string{"sub/c.conf"}},
		{"hidden by name", []string{".*.conf"}, []string{".hidden.conf"}},
		{"a file with that name", []string{"x*.txt"}, []string{"x*.txt"}},
		{"nothing matches", []string{"*.none", "a.conf"}, []string{"*.none", "a.conf"}},
		{"open bracket", []string{"[a.conf"}, []string{"[a.conf"}},
		{"placeholder", []string{"%(host)s*"}, []string{"%(host)s*"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			in := func(names []string) []string {
				full := make([]string, 0, len(names)+1)
				for _, name := range names {
					full = append(full, filepath.Join(dir, name))
				}
				return append(full, "*.conf") // the path on the hosts
			}
			if got := expandWildcards(in(test.given)); !slices.Equal(got, in(test.want)) {
				t.Errorf("%q, want %q", got, in(test.want))
			}
		})
	}
}
