package knownhosts_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/internal/knownhosts"
)

// The lines that are listed for one host count together with the files, as if one file had the
// lines of both.
func TestUnion(t *testing.T) {
	t.Parallel()
	cert := certify(t, "ed", "ca")
	for _, test := range []struct{ name, first, second string }{
		{"nothing", "", ""},
		{"first", "web {ed}", ""},
		{"second", "", "web {ed}"},
		{"changed in one", "[web]:2401 {ed2}", ""},
		{"changed in both", "[web]:2401 {ed2}", "[web]:2401 {rsa}"},
		{"right in the other", "[web]:2401 {ed2}", "[web]:2401 {ed}"},
		{"another type", "[web]:2401 {rsa}", "[web]:2401 {ec}"},
		{"another type, and another key", "[web]:2401 {rsa}", "[web]:2401 {ed2}"},
		{"revoked in the other", "web {ed}", "@revoked * {ed}"},
		{"revoked in the first", "@revoked * {ed}", "web {ed}"},
		{"authority", "@cert-authority * {ca}", ""},
		{"authority in the second", "web {rsa}", "@cert-authority * {ca}"},
		{"authority, and revoked", "@cert-authority * {ca}", "@revoked * {ca}"},
		{"another authority", "@cert-authority * {ca2}", "[web]:2401 {rsa}"},
		{"by plain name", "web {rsa}", "web {ed}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			one := read(t, test.first+"\n"+test.second+"\n")
			two := knownhosts.Union{read(t, test.first+"\n"), read(t, test.second+"\n")}
			for _, shown := range []knownhosts.Shown{
				{Host: "web", Port: 2401, Keys: keysNamed("ed")}, {Host: "web", Port: 2401, Keys: keysNamed("ed", "rsa")},
			} {
				shown.Keys = append(shown.Keys, cert)
				for _, key := range shown.Keys {
					err1, err2 := one.Check("web", 2401, key), two.Check("web", 2401, key)
					if got, want := outcome(t, err2), outcome(t, err1); got != want {
						t.Errorf("%s: %s, want %s", key.Type(), got, want)
					}
					var a, b *knownhosts.KeyError
					if errors.As(err1, &a) && errors.As(err2, &b) && (short(a.Retry) != short(b.Retry) || len(a.Known) != len(b.Known)) {
						t.Errorf("%s: retry %s with %d lines, want %s with %d", key.Type(), short(b.Retry), len(b.Known), short(a.Retry), len(a.Known))
					}
				}
				want := one.Judge(shown)
				for i, v := range two.Judge(shown) {
					if v.Standing != want[i].Standing {
						t.Errorf("%s is %v, want %v", v.Key.Type(), v.Standing, want[i].Standing)
					}
				}
			}
			if got, want := short(two.Algorithms("web", 2401)), short(one.Algorithms("web", 2401)); got != want {
				t.Errorf("algorithms %s, want %s", got, want)
			}
		})
	}
	if got := outcome(t, knownhosts.Union{}.Check("web", 22, key("ed"))); got != "unknown" {
		t.Errorf("nothing at all: %s", got)
	}
}

// A file that cannot be read is skipped, and named where it might have mattered.
func TestTryFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(file, []byte(fill("web {ed}\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	db := new(knownhosts.DB)
	for _, path := range []string{dir, filepath.Join(dir, "missing"), file} {
		db.TryFile(path)
	}
	if err := db.Check("web", 22, key("ed")); err != nil {
		t.Error(err)
	}
	err := db.Check("db", 22, key("ed"))
	if err == nil || !strings.Contains(err.Error(), "(not read: "+dir+": is a directory)") {
		t.Error(err)
	}
	if err := db.Check("web", 22, key("ed2")); err == nil || strings.Contains(err.Error(), "not read") {
		t.Error(err)
	}
}

func TestRemember(t *testing.T) {
	t.Parallel()
	db := read(t, "old {rsa}\n")
	if err := db.Remember("web", 2401, key("ed")); err != nil {
		t.Fatal(err)
	}
	if err := db.Check("web", 2401, key("ed")); err != nil {
		t.Error(err)
	}
	for _, err := range []error{db.Check("web", 2401, key("ed2")), db.Remember("web", 2401, key("ed2")), db.Remember("old", 22, key("ed"))} {
		if got := outcome(t, err); got != "changed" {
			t.Error(err)
		}
	}
	if err := db.Remember("a,b", 22, key("ed")); err == nil {
		t.Error("a name that means two hosts")
	}
}

func TestAddHashed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "known_hosts")
	db := &knownhosts.DB{Hash: true}
	if err := db.Add(file, "web", 2401, key("ed")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "|1|") || strings.Contains(string(text), "web") {
		t.Errorf("%q, %v", text, err)
	}
	again := new(knownhosts.DB)
	again.TryFile(file)
	for _, db := range []*knownhosts.DB{db, again} {
		if err := db.Check("web", 2401, key("ed")); err != nil {
			t.Error(err)
		}
	}
}
