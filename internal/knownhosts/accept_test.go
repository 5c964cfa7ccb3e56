package knownhosts_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/knownhosts"
)

// accepted returns host web on port 2222 with the keys that it shows and those to take, both as
// for shown.
func accepted(t testing.TB, shows, take string) knownhosts.Accepted {
	t.Helper()
	return knownhosts.Accepted{Shown: shown(t, shows), Take: shown(t, take).Keys}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, before, shows, take string
		replace                   bool
		after, fails              string
	}{
		{name: "new", shows: "ed ec", take: "ed ec", after: "[web]:2222 {ed}\n[web]:2222 {ec}\n"},
		{name: "a part of it", shows: "ed ec", take: "ec", after: "[web]:2222 {ec}\n"},
		{name: "behind half a line", before: "# end", shows: "ed", take: "ed", after: "# end\n[web]:2222 {ed}\n"},
		{name: "CRLF stays", before: "# a\r\ndb {ed}\r\n", shows: "ed", take: "ed", after: "# a\r\ndb {ed}\r\n[web]:2222 {ed}\n"},
		{name: "nothing to do", before: "[web]:2222 {ed}", shows: "ed", take: "ed", after: "[web]:2222 {ed}"},
		{name: "another type", before: "web {ed}\n", shows: "ed ec", take: "ed ec", after: "web {ed}\n[web]:2222 {ec}\n"},
		{name: "changed", before: "[web]:2222 {ed2}\n", shows: "ed", take: "ed", fails: "host key has changed: known is ssh-ed25519 SHA256:"},
		{name: "changed meanwhile, new types too", before: "[web]:2222 {ed2}\n", shows: "ed ec", take: "ec", fails: "host key has changed"},
		{name: "revoked", before: "@revoked * {ed}\n", shows: "ed", take: "ed", fails: "host key is revoked"},
		{name: "revoked is not replaced", before: "@revoked * {ed}\n[web]:2222 {ed2}\n", shows: "ed", take: "ed", replace: true, fails: "host key is revoked"},
		{name: "not shown", shows: "ec", take: "ed", fails: "is not among the keys that it showed"},

		{name: "replaced", before: "# a\n[web]:2222 {ed2} c\nother {ed2}\n", shows: "ed", take: "ed", replace: true, after: "# a\nother {ed2}\n[web]:2222 {ed}\n"},
		{name: "new is not replaced", before: "web {ed2}\n", shows: "ed", take: "ed", replace: true, after: "web {ed2}\n[web]:2222 {ed}\n"},
		{name: "one name of several", before: " db,[WEB]:2222,10.0.0.1\t{ed2}  c\n", shows: "ed", take: "ed", replace: true, after: "db,10.0.0.1 {ed2}  c\n[web]:2222 {ed}\n"},
		{name: "the same name twice", before: "[web]:2222,[web]:2222 {ed2}\n", shows: "ed", take: "ed", replace: true, after: "[web]:2222 {ed}\n"},
		{name: "only the type that changed", before: "[web]:2222 {ed2}\n[web]:2222 {rsa}\n", shows: "ed rsa", take: "ed", replace: true, after: "[web]:2222 {rsa}\n[web]:2222 {ed}\n"},
		{name: "nothing of it is known any more", before: "[web]:2222 {ed2}\n[web]:2222 {rsa}\n", shows: "ed", take: "ed", replace: true, after: "[web]:2222 {ed}\n"},
		{name: "it may show more", before: "[web]:2222 {ed2}\n[web]:2222 {rsa}\n", shows: "ed ...", take: "ed", replace: true, after: "[web]:2222 {rsa}\n[web]:2222 {ed}\n"},
		{name: "other type than known", before: "[web]:2222 {ed}\n", shows: "ec", take: "ec", replace: true, after: "[web]:2222 {ec}\n"},
		{name: "other port stays", before: "[web]:2223 {ed2}\n[web]:2222 {ed2}\n", shows: "ed", take: "ed", replace: true, after: "[web]:2223 {ed2}\n[web]:2222 {ed}\n"},
		{name: "authorities stay", before: "@cert-authority * {ed2}\n[web]:2222 {ed2}\n", shows: "ed", take: "ed", replace: true, after: "@cert-authority * {ed2}\n[web]:2222 {ed}\n"},
		{name: "garbage stays", before: "garbage\n[web]:2222 ssh-foo AAAA\n[web]:2222 {ed2}", shows: "ed", take: "ed", replace: true, after: "garbage\n[web]:2222 ssh-foo AAAA\n[web]:2222 {ed}\n"},
		{name: "pattern", before: "[w*]:2222 {ed2}\n", shows: "ed", take: "ed", replace: true, fails: "known_hosts:1: a pattern in this line matches [web]:2222 and other hosts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "known_hosts")
			a := accepted(t, test.shows, test.take)
			a.Replace = test.replace
			before := fill(test.before)
			writeFile(t, path, before)
			done, err := knownhosts.Accept([]string{path}, knownhosts.Acceptance{Hosts: []knownhosts.Accepted{a, a}})
			want := fill(test.after)
			if test.fails != "" {
				want = before
				if err == nil || !strings.Contains(err.Error(), test.fails) || !strings.HasPrefix(err.Error(), "[web]:2222: ") {
					t.Errorf("error %v, want %q", err, test.fails)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, path); got != want {
				t.Errorf("file is\n%s\nwant\n%s", got, want)
			}
			if done.Backup != "" != (done.Removed > 0) || done.Backup != "" && readFile(t, done.Backup) != before {
				t.Errorf("%+v, want the file as it was", done)
			}
			if n := len(leftBeside(t, path)); n > 0 && done.Backup == "" || n > 1 {
				t.Errorf("left beside the file: %v", leftBeside(t, path))
			}
		})
	}
}

// leftBeside returns the other files in the directory of a file.
func leftBeside(t *testing.T, path string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, file := range all {
		if file != path {
			others = append(others, file)
		}
	}
	return others
}

func TestAcceptHashes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "known_hosts")
	accept := func(a knownhosts.Accepted) knownhosts.Written {
		t.Helper()
		done, err := knownhosts.Accept([]string{path}, knownhosts.Acceptance{Hosts: []knownhosts.Accepted{a}, Hash: true})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	accept(accepted(t, "ed ec", "ed ec"))
	if text := readFile(t, path); strings.Contains(text, "web") || strings.Count(text, "\n|1|") != 1 {
		t.Errorf("file is\n%s", text)
	}
	if got := keygen(t, "-F", "[web]:2222", "-f", path); strings.Count(got, "found: line") != 2 {
		t.Errorf("ssh-keygen finds\n%s", got)
	}
	again := accepted(t, "ed2 ec", "ed2")
	again.Replace = true
	if done := accept(again); done.Added != 1 || done.Removed != 1 {
		t.Errorf("%+v", done)
	}
	var db knownhosts.DB
	if err := db.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ed": "changed", "ed2": "ok", "ec": "ok"} {
		if got := outcome(t, db.Check("web", 2222, key(name))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// Other files count, and are not written.
func TestAcceptWithOtherFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	user, system := filepath.Join(dir, "user"), filepath.Join(dir, "system")
	files := []string{user, system, filepath.Join(dir, "missing")}
	writeFile(t, system, fill("[web]:2222 {ed2}\n"))
	a := accepted(t, "ed", "ed")
	for _, want := range []string{"has changed", system + ":1: remove it there"} {
		_, err := knownhosts.Accept(files, knownhosts.Acceptance{Hosts: []knownhosts.Accepted{a}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		a.Replace = true
	}
	if got := readFile(t, system); got != fill("[web]:2222 {ed2}\n") {
		t.Errorf("file is %q", got)
	}
}

func TestAcceptKeepsWhatTheFileIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "known_hosts")
	writeFile(t, target, "# comment\n")
	if err := errors.Join(os.Chmod(target, 0o640), os.Symlink("target", path)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(target, 12345, 54321); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := knownhosts.Accept([]string{path}, knownhosts.Acceptance{Hosts: []knownhosts.Accepted{accepted(t, "ed", "ed")}}); err != nil {
		t.Fatal(err)
	}
	if got, want := readFile(t, target), fill("# comment\n[web]:2222 {ed}\n"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	after, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	if after.Mode() != before.Mode() || !sameOwner(before, after) {
		t.Errorf("%v, was %v", after.Sys(), before.Sys())
	}
}

// many returns hosts with one key each, which depends on the seed.
func many(seed string) knownhosts.Acceptance {
	var a knownhosts.Acceptance
	for i := range hosts {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s%d", seed, i))
		key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(sum[:]).Public())
		if err != nil {
			panic(err)
		}
		name := fmt.Sprintf("%s%d", seed, i)
		a.Hosts = append(a.Hosts, knownhosts.Accepted{
			Shown: knownhosts.Shown{Host: name, Keys: []ssh.PublicKey{key}},
			Take:  []ssh.PublicKey{key},
		})
	}
	return a
}

// TestAcceptInProcess is not a test: other tests run it as a process.
func TestAcceptInProcess(t *testing.T) {
	seeds, path := os.Getenv("KNOWNHOSTS_TEST_SEEDS"), os.Getenv("KNOWNHOSTS_TEST_ACCEPT")
	if path == "" {
		return
	}
	limitFiles(t, os.Getenv("KNOWNHOSTS_TEST_LIMIT"))
	for seed := range strings.FieldsSeq(seeds) {
		if _, err := knownhosts.Accept([]string{path}, many(seed)); err != nil {
			t.Fatal(err)
		}
	}
}

// acceptInProcess accepts many hosts in another process.
func acceptInProcess(path, seeds, limit string) ([]byte, error) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestAcceptInProcess$")
	cmd.Env = append(os.Environ(), "KNOWNHOSTS_TEST_SEEDS="+seeds, "KNOWNHOSTS_TEST_ACCEPT="+path, "KNOWNHOSTS_TEST_LIMIT="+limit)
	return cmd.CombinedOutput()
}

// Processes that accept hosts, and others that add single hosts, lose nothing.
func TestAcceptFromProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "known_hosts")
	writeFile(t, path, "# begun before\n")
	var wg sync.WaitGroup
	for _, seeds := range []string{"a b c same", "d same e f"} {
		wg.Go(func() {
			if out, err := acceptInProcess(path, seeds, ""); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Go(func() {
		if err := addHosts(path, key("ed")); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	seen := make(map[string]int)
	for row := range strings.Lines(readFile(t, path)) {
		host, _, _ := strings.Cut(row, " ")
		seen[strings.TrimRight(host, "0123456789")]++
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "same", "host"} {
		if seen[name] != hosts {
			t.Errorf("%d lines of %s, want %d", seen[name], name, hosts)
		}
	}
	if seen["#"] != 1 || len(leftBeside(t, path)) > 0 {
		t.Errorf("%v, and beside the file %v", seen, leftBeside(t, path))
	}
}
