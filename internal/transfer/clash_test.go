package transfer

import (
	"path/filepath"
	"testing"
)

func TestFindClash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	below := func(name string) string { return in(name) + string(filepath.Separator) }
	for _, test := range []struct {
		name    string
		dests   []string
		sources []string // the same on all hosts
		glob    bool
		clash   bool
	}{
		{"names of their own", []string{in("a"), in("b")}, []string{"/x"}, false, false},
		{"one name", []string{in("a"), in("a")}, []string{"/x"}, false, true},
		{"the same by another way", []string{in("a"), in("b", "..", "a")}, []string{"/x"}, false, true},
		{"one directory", []string{dir, dir}, []string{"/x"}, false, true},
		{"directories of their own", []string{below("a"), below("b")}, []string{"/x", "/y"}, false, false},
		{"one in the other", []string{in("a"), in("a", "x")}, []string{"/x"}, false, true},
		{"only alike", []string{in("a"), in("a-b")}, []string{"/x"}, false, false},
		{"a name that looks like a pattern", []string{below("a"), in("a", "y")}, []string{"/*"}, false, false},
		{"a pattern", []string{below("a"), in("a", "y")}, []string{"/*"}, true, true},
		{"what is in a directory", []string{below("a"), in("a", "y")}, []string{"/x/."}, false, true},
	} {
		clash := FindClash(test.dests, func(int) []string { return test.sources }, test.glob)
		if (clash != nil) != test.clash {
			t.Errorf("%s: %+v", test.name, clash)
		}
		if clash != nil && clash.Host == clash.Other {
			t.Errorf("%s: a host is in its own way", test.name)
		}
	}
}
