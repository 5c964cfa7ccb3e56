package knownhosts_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/knownhosts"
)

// The test binary adds hosts for TestAddFromProcesses on request.
func TestMain(m *testing.M) {
	if path := os.Getenv("KNOWNHOSTS_TEST_ADD"); path != "" {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(os.Getenv("KNOWNHOSTS_TEST_KEY")))
		if err == nil {
			err = addHosts(path, key)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const hosts = 200

// addHosts adds each host from a goroutine of its own. Another process may have added it with
// another key.
func addHosts(path string, key ssh.PublicKey) error {
	var db knownhosts.DB
	errs := make([]error, hosts)
	var wg sync.WaitGroup
	for i := range hosts {
		wg.Go(func() {
			host := fmt.Sprintf("host%d", i)
			err := db.Add(path, host, 22, key)
			var e *knownhosts.KeyError
			if errors.As(err, &e) && e.Reason == knownhosts.Changed {
				err = nil
			}
			if checked := db.Check(host, 22, key); err == nil && checked != nil && !errors.As(checked, &e) {
				err = checked
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func TestAddFromProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "known_hosts")
	var wg sync.WaitGroup
	for _, name := range []string{"ed", "ed2", "ed"} {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "KNOWNHOSTS_TEST_ADD="+path, "KNOWNHOSTS_TEST_KEY="+keyText(key(name)))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Go(func() {
		if err := addHosts(path, key("ec")); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()

	seen := make(map[string]bool)
	for row := range strings.Lines(readFile(t, path)) {
		host, rest, _ := strings.Cut(strings.TrimSuffix(row, "\n"), " ")
		if seen[host] {
			t.Errorf("%s is there twice", host)
		}
		seen[host] = true
		if rest != keyText(key("ed")) && rest != keyText(key("ed2")) && rest != keyText(key("ec")) {
			t.Errorf("line %q", row)
		}
	}
	if len(seen) != hosts {
		t.Errorf("%d hosts", len(seen))
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 511)
	tests := []struct {
		name, before string
		host         string
		port         int
		key          ssh.PublicKey
		want, added  string
	}{
		{"new", "", "web", 22, key("ed"), "ok", "web {ed}\n"},
		{"port", "", "web", 2222, key("ed"), "ok", "[web]:2222 {ed}\n"},
		{"no port", "", "web", 0, key("ed"), "ok", "web {ed}\n"},
		{"IPv6", "", "fe80::1%eth0", 22, key("ed"), "ok", "fe80::1%eth0 {ed}\n"},
		{"IPv6, port", "", "[::1]", 2222, key("ed"), "ok", "[::1]:2222 {ed}\n"},
		{"upper case", "", "WEB", 22, key("ed"), "ok", "web {ed}\n"},
		{"other letters", "", "bücher", 22, key("ed"), "ok", "bücher {ed}\n"},
		{"long", "", long, 22, key("ed"), "ok", long + " {ed}\n"},
		{"rsa", "", "web", 22, key("rsa"), "ok", "web {rsa}\n"},
		{"certificate", "", "web", 22, certify(t, "ed", "ca"), "ok", "web {ed}\n"},
		{"known", "web {ed}\n", "web", 22, key("ed"), "ok", ""},
		{"known by certificate", "@cert-authority * {ca}\n", "web", 22, certify(t, "ed", "ca"), "ok", ""},
		{"known by plain name", "web {ed}\n", "web", 2222, key("ed"), "ok", ""},
		{"other key by plain name", "web {ed2}\n", "web", 2222, key("ed"), "ok", "[web]:2222 {ed}\n"},
		{"changed", "web {ed2}\n", "web", 22, key("ed"), "changed", ""},
		{"another type", "web {rsa}\n", "web", 22, key("ed"), "changed", ""},
		{"revoked", "@revoked * {ed}\n", "web", 22, key("ed"), "revoked", ""},
		{"revoked plain name; OpenSSH adds it", "@revoked web {ed}\n", "web", 2222, key("ed"), "revoked", ""},
		{"bad certificate; OpenSSH adds it", "@cert-authority * {ca}\n", "web", 22, certify(t, "ed", "ca", expired), "bad certificate", ""},
		{"no newline", "# comment", "web", 22, key("ed"), "ok", "\nweb {ed}\n"},
		{"behind half a line", "db {ed}\nweb ssh-ed", "web", 22, key("ed"), "ok", "\nweb {ed}\n"},
		{"no newline, known", "web {ed}", "web", 22, key("ed"), "ok", ""},
		{"CRLF", "db {ed}\r\n", "web", 22, key("ed"), "ok", "web {ed}\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "known_hosts")
			writeFile(t, path, fill(test.before))
			// It makes no difference whether the file was read before.
			for _, load := range []bool{true, false} {
				writeFile(t, path, fill(test.before))
				var db knownhosts.DB
				if load {
					if err := db.ReadFile(path); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					if got := outcome(t, db.Add(path, test.host, test.port, test.key)); got != test.want {
						t.Errorf("%s, want %s", got, test.want)
					}
				}
				if got, want := readFile(t, path), fill(test.before+test.added); got != want {
					t.Errorf("file is %q, want %q", got, want)
				}
				if got := outcome(t, db.Check(test.host, test.port, test.key)); got != test.want {
					t.Errorf("afterwards %s, want %s", got, test.want)
				}
			}
		})
	}
}

func TestAddRefusesNames(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "known_hosts")
	for _, host := range []string{
		"", " ", "a b", "a\tb", "a\nb", "a\r", "a,b", "*", "w?b", "!web", "a!", "#web", "@revoked", "|1|", "[web]:22", "[web]", "a]",
		"\x00", "a\x7f", "a\u00a0b", "a\u2028b", "a\u200bb", "\xff", strings.Repeat("a", 512),
	} {
		var db knownhosts.DB
		if err := db.Add(path, host, 22, key("ed")); err == nil {
			t.Errorf("%q was added", host)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestAddMakesDirectory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "home", ".ssh", "known_hosts")
	var db knownhosts.DB
	if err := db.ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := db.Add(path, "web", 22, key("ed")); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700 | fs.ModeDir} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s: %v", name, info.Mode())
		}
	}
}

func TestAddKeepsSymbolicLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "known_hosts")
	writeFile(t, target, "# comment\n")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	var db knownhosts.DB
	if err := db.Add(path, "web", 22, key("ed")); err != nil {
		t.Fatal(err)
	}
	if got, want := readFile(t, target), fill("# comment\nweb {ed}\n"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Lines count that another process has written since the file was read.
func TestAddSeesOthers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "known_hosts")
	writeFile(t, path, fill("db {ed}\nhalf"))
	var db knownhosts.DB
	if err := db.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if err := db.Add(path, "first", 22, key("ed")); err != nil {
		t.Fatal(err)
	}
	before := readFile(t, path)
	text := before + hash(fill("web {ed2}\nmail {ed}\n"))
	writeFile(t, path, text)
	for host, want := range map[string]string{"web": "changed", "mail": "ok", "first": "ok"} {
		if got := outcome(t, db.Add(path, host, 22, key("ed"))); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if got := readFile(t, path); got != text {
		t.Errorf("file is %q", got)
	}
	var e *knownhosts.KeyError
	if err := db.Check("web", 22, key("ed")); !errors.As(err, &e) || len(e.Known) != 1 || e.Known[0].Line != 4 || e.Known[0].File != path {
		t.Errorf("%v", err)
	}

	// ssh-keygen -R replaces the file.
	other := path + ".new"
	writeFile(t, other, fill("ftp {ed2}\n"))
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"ftp": "changed", "www": "ok"} {
		if got := outcome(t, db.Add(path, host, 22, key("ed"))); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if got, want := readFile(t, path), fill("ftp {ed2}\nwww {ed}\n"); got != want {
		t.Errorf("file is %q, want %q", got, want)
	}
}

func TestReadFileTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	user, system := filepath.Join(dir, "user"), filepath.Join(dir, "system")
	writeFile(t, user, fill("web {ed}\n"))
	writeFile(t, system, fill("web {ed2}\n@revoked db {ed}\n"))
	var db knownhosts.DB
	for _, path := range []string{user, system, user, os.DevNull} {
		if err := db.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, name := range []string{"ed", "ed2", "ec"} {
		got = append(got, outcome(t, db.Check("web", 22, key(name))))
	}
	if want := []string{"ok", "ok", "changed"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var e *knownhosts.KeyError
	if err := db.Check("web", 22, key("ec")); !errors.As(err, &e) || len(e.Known) != 2 {
		t.Errorf("%v", err)
	}
	if err := db.ReadFile(dir); err == nil {
		t.Error("read a directory")
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A host is unknown until its key has been added, and never Changed meanwhile.
func TestCheckWhileAdding(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "known_hosts")
	var db knownhosts.DB
	var wg sync.WaitGroup
	for i := range hosts {
		host := fmt.Sprintf("host%d", i)
		for range 3 {
			wg.Go(func() {
				for !t.Failed() {
					err := db.Check(host, 22, key("ed"))
					if err == nil {
						return
					}
					if got := outcome(t, err); got != "unknown" {
						t.Errorf("%s: %s", host, got)
						return
					}
					runtime.Gosched()
				}
			})
		}
		wg.Go(func() {
			if err := db.Add(path, host, 22, key("ed")); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
}
