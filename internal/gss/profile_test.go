package gss

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func writeFile(t testing.TB, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parsedConfig(t testing.TB, text string) *config {
	t.Helper()
	c, err := readConfig(writeFile(t, t.TempDir(), "krb5.conf", text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestProfile parses every syntax that MIT's library accepts.
func TestProfile(t *testing.T) {
	t.Parallel()
	c := parsedConfig(t, "\ufeff# a comment\n; another\nmodule /lib/x.so:res\n[libdefaults]\n"+
		"  default_realm = A.TEST   \r\n\tspaced\t=\ta b  c\t\n quoted = \"  a\\tb\\\\c\\\"d\\ne \" rest\n empty =\n unknown_thing = 7\n"+
		" first = 1\n first = 2\n include_me = x\n hash = a#b\n A.TEST = {\n  nested = {\n   deep = yes\n  }\n }\n"+
		"[realms]\n\tA.TEST = {\n\t\tkdc = one\n\t\tkdc = two\n\t}\n B.TEST =\n {\n kdc = three\n }\n[ odd ]\n"+
		"[libdefaults]\n again = 1\n[realms]\nA.TEST = {\n kdc = more\n}\n")
	for path, want := range map[string][]string{
		"libdefaults/default_realm":      {"A.TEST"},
		"libdefaults/spaced":             {"a b  c"},
		"libdefaults/quoted":             {"  a\tb\\c\"d\ne "},
		"libdefaults/empty":              {""},
		"libdefaults/first":              {"1", "2"},
		"libdefaults/include_me":         {"x"},
		"libdefaults/hash":               {"a#b"},
		"libdefaults/again":              {"1"},
		"libdefaults/A.TEST/nested/deep": {"yes"},
		"libdefaults/A.TEST":             nil,
		"realms/A.TEST/kdc":              {"one", "two", "more"},
		"realms/B.TEST/kdc":              {"three"},
		"nosuch/x":                       nil,
	} {
		if got := c.values(strings.Split(path, "/")...); !slices.Equal(got, want) {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
}

// TestProfileFiles reads lists of files, included files and final sections.
func TestProfileFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parts := filepath.Join(dir, "parts")
	if err := os.Mkdir(parts, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a-1_x", "c.conf", ".hidden.conf", "backup~", "x.rpmsave"} {
		writeFile(t, parts, name, "[libdefaults]\nfrom = "+name+"\n")
	}
	other := writeFile(t, dir, "other", "[libdefaults]\nfrom = other\n")
	first := writeFile(t, dir, "first", "includedir "+parts+"\n[libdefaults]\nfrom = first\ninclude "+other+"\nfixed* = 1\n[realms]*\nA = {\nkdc = a\n}\n[domain_realm]\nh = {\nx = 1\n}*\n")
	second := writeFile(t, dir, "second", "[libdefaults]\nfrom = second\nfixed = 2\n[realms]\nA = {\nkdc = b\n}\n[domain_realm]\nh = {\nx = 2\n}\n")
	c, err := readConfig(strings.Join([]string{filepath.Join(dir, "missing"), first, second}, ":"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"libdefaults/from":  {"a-1_x", "b", "c.conf", "first", "other", "second"},
		"libdefaults/fixed": {"1"},
		"realms/A/kdc":      {"a"},
		"domain_realm/h/x":  {"1"},
	} {
		if got := c.values(strings.Split(path, "/")...); !slices.Equal(got, want) {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
}

// TestProfileErrors checks that errors name the file and line.
func TestProfileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	writeFile(t, dir, "loop", "include "+loop+"\n")
	many := strings.Repeat("include "+writeFile(t, dir, "empty", "")+"\n", maxProfileFiles+1)
	for text, want := range map[string]string{
		"x = 1\n":                               ":1: outside of any section",
		"[a\n":                                  ":1: a section without a closing bracket",
		"[a]\n\nnonsense\n":                     ":3: neither a section nor name = value",
		"[a]\n}\n":                              ":2: closing brace without an opening one",
		"[a]\n{\n":                              ":2: opening brace without a name",
		"[a]\nb = {\n[c]\n":                     `:3: a section begins before "b" is closed`,
		"[a]\nb = {\n":                          `:2: "b" has no closing brace`,
		"[a]\n= 1\n":                            ":2: a value without a name",
		"[a]\n" + strings.Repeat("b = {\n", 30): ":21: sections nested more than 20 deep",
		"include relative\n":                    `:1: include: "relative" is not an absolute path`,
		"includedir relative\n":                 `:1: includedir: "relative" is not an absolute path`,
		"include /nonexistent/file\n":           ":1: stat /nonexistent/file: no such file or directory",
		"\nincludedir /nonexistent/dir\n":       ":2: open /nonexistent/dir: no such file or directory",
		"include " + loop + "\n":                "includes nested more than 10 deep",
		"include " + dir + "\n":                 "is not a regular file",
		many:                                    "more than 500 files",
		"[a]\n#" + strings.Repeat("x", 1<<20) + "\n": "is larger than 1048576 bytes",
	} {
		path := writeFile(t, dir, "krb5.conf", text)
		_, err := NewCredentials(Options{Config: path}).Principal(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "read the Kerberos configuration: "+path) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"36000": 10 * time.Hour, "0": 0, "-5": -5 * time.Second, "10h": 10 * time.Hour, "7d": 7 * day, "1d2h3m4s": day + 2*time.Hour + 3*time.Minute + 4*time.Second,
		" 1d 2h 3m 4s ": day + 2*time.Hour + 3*time.Minute + 4*time.Second, "2h 30m": 150 * time.Minute, "5m": 5 * time.Minute, "10:30": 10*time.Hour + 30*time.Minute,
		"10:30:15": 10*time.Hour + 30*time.Minute + 15*time.Second, "1-10:30:15": day + 10*time.Hour + 30*time.Minute + 15*time.Second, "3H": 3 * time.Hour,
	} {
		if got, ok := parseDuration(text); !ok || got != want {
			t.Errorf("%q = %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "x", "5x", "1h2d", "h", "1:2:3:4", "a:b", "1-", "99999999999999999999", "x-1:2"} {
		if got, ok := parseDuration(text); ok {
			t.Errorf("%q = %v", text, got)
		}
	}
}

func TestBools(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"y", "YES", "True", "t", "1", "on"} {
		if !parseBool(text, false) {
			t.Errorf("%q is not true", text)
		}
	}
	for _, text := range []string{"n", "No", "FALSE", "nil", "0", "off"} {
		if parseBool(text, true) {
			t.Errorf("%q is not false", text)
		}
	}
	for _, text := range []string{"", "fallback", "2"} {
		if !parseBool(text, true) || parseBool(text, false) {
			t.Errorf("%q is not the default", text)
		}
	}
}
