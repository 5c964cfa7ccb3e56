package knownhosts_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetssh/internal/knownhosts"
)

// FuzzParse reads any text. The lines before and after it must count, and the result must not
// depend on how the text ends.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "web {ed}", "# c\n\n[web]:2222,db {ed2} c\r\n", "@revoked * {ed}", "@cert-authority *.a,!b.a {ca}",
		"|1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= {ed2}", "web 1024 35 17", "web ssh-foo AAAA",
		"\x00", "@revoked", "|1||", "web ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
	} {
		f.Add(fill(seed), "web")
	}
	first, last := fill("first.test {ed}\n"), fill("\nlast.test {ed2}\n")
	f.Fuzz(func(t *testing.T, text, host string) {
		db := read(t, first+text+last)
		for host, name := range map[string]string{"first.test": "ed", "last.test": "ed2"} {
			var e *knownhosts.KeyError
			if err := db.Check(host, 22, key(name)); errors.As(err, &e) && e.Reason != knownhosts.Revoked {
				t.Errorf("%s: %v", host, err)
			}
		}
		alone := read(t, text)
		for _, port := range []int{22, 2222} {
			want := outcome(t, alone.Check(host, port, key("ed")))
			if got := outcome(t, read(t, strings.ReplaceAll(text, "\n", "\r\n")+"\r\n").Check(host, port, key("ed"))); got != want {
				t.Errorf("%s with CRLF, %s without", got, want)
			}
			if a := alone.Algorithms(host, port); a != nil && !slices.Contains(a, "ssh-ed25519") {
				t.Errorf("algorithms %v", a)
			}
		}
	})
}

// FuzzAdd adds any host to any file. If that succeeds, the host is known, to a new reader too,
// and nothing else has changed.
func FuzzAdd(f *testing.F) {
	f.Add("", "web", uint16(22))
	f.Add("# comment", "::1", uint16(2222))
	f.Add(fill("web {ed2}"), "a,b", uint16(0))
	f.Add(fill("@revoked * {ed2}\n[web]:2222 {ed}\n"), "a\nb {ed}", uint16(1))
	path := filepath.Join(f.TempDir(), "known_hosts")
	f.Fuzz(func(t *testing.T, text, host string, port uint16) {
		path := path + "." + filepath.Base(t.TempDir())
		writeFile(t, path, text)
		defer os.Remove(path)
		var db knownhosts.DB
		err := db.Add(path, host, int(port), key("ed"))
		after := readFile(t, path)
		if err != nil || after == text {
			if after != text {
				t.Errorf("%v, but the file is %q", err, after)
			}
			return
		}
		added, ok := strings.CutPrefix(after, text)
		added = strings.TrimPrefix(added, "\n")
		if !ok || !strings.HasSuffix(added, " "+keyText(key("ed"))+"\n") || strings.Count(added, "\n") != 1 {
			t.Errorf("added %q", added)
		}
		if err := db.Check(host, int(port), key("ed")); err != nil {
			t.Error(err)
		}
		if err := readRaw(t, after).Check(host, int(port), key("ed")); err != nil {
			t.Errorf("read again: %v", err)
		}
		if name, _, _ := strings.Cut(added, " "); strings.ContainsAny(name, ",*?! \t") {
			t.Errorf("added %q", added)
		}
		if err := readRaw(t, added).Check("other.test", int(port), key("ed")); err == nil && !strings.EqualFold(host, "other.test") {
			t.Errorf("%q is about other hosts", added)
		}
	})
}

// readRaw is read without filling in keys.
func readRaw(t *testing.T, text string) *knownhosts.DB {
	t.Helper()
	db := new(knownhosts.DB)
	if err := db.Read(strings.NewReader(text), "fuzz"); err != nil {
		t.Fatal(err)
	}
	return db
}
