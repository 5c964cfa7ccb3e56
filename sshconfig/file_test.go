package sshconfig

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// machine returns a local with its own folders, and writes files there: paths that begin with "~/"
// below the home directory, others below the system's folder.
func machine(t *testing.T, files map[string]string) *local {
	t.Helper()
	l := &local{user: "me", uid: "1", home: t.TempDir(), name: "here.example.org", shortName: "here", systemDir: t.TempDir()}
	t.Setenv("HOME", l.home)
	for name, text := range files {
		path := filepath.Join(l.systemDir, name)
		if below, ok := strings.CutPrefix(name, "~/"); ok {
			path = filepath.Join(l.home, below)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// TestDefaultFiles reads the user's file, the system's file, and the files that they include.
func TestDefaultFiles(t *testing.T) {
	l := machine(t, map[string]string{
		"~/.ssh/config":     "Host web\n  Include conf.d/* ~/more none*\nUser config\n",
		"~/.ssh/conf.d/b":   "Port 2\nHost other\nHostKeyAlias never\n",
		"~/.ssh/conf.d/a":   "Port 1\nIdentityFile /a\n",
		"~/more":            "Match host web\nIdentityFile /more\n",
		"ssh_config":        "Include conf.d/*\nUser system\nHostName h\n",
		"conf.d/x":          "AddressFamily inet\n",
		"conf.d/y":          "Include z\nHost no\n HostName never\n",
		"z":                 "Tag z\n",
		"~/.ssh/not/needed": "",
	})
	f, err := l.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for alias, want := range map[string]string{
		"web": "AddressFamily=inet HostName=h IdentityFile=/a IdentityFile=/more Port=1 Tag=z User=config ",
		"db":  "AddressFamily=inet HostName=h Tag=z User=system ",
	} {
		s, err := f.Resolve(alias, "")
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, v := range s.All() {
			if v.Origin != fromDefault {
				got.WriteString(v.Keyword + "=" + v.Value + " ")
			}
		}
		if got.String() != want {
			t.Errorf("%s has %s, want %s", alias, got.String(), want)
		}
	}
	s, _ := f.Resolve("web", "")
	if got, want := s.Values("Port")[0].Origin, filepath.Join(l.home, ".ssh", "conf.d", "a")+":1"; got != want {
		t.Errorf("the port is from %s, want %s", got, want)
	}
}

// TestLoad loads files that are missing or unreadable.
func TestLoad(t *testing.T) {
	l := machine(t, nil)
	if _, err := l.load(nil); err != nil {
		t.Errorf("without files: %v", err)
	}
	if _, err := l.load([]string{"none"}); err != nil {
		t.Errorf("none: %v", err)
	}
	missing := filepath.Join(l.home, "missing")
	_, err := l.load([]string{missing})
	if e, ok := errors.AsType[*Error](err); !ok || e.File != missing || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	for name, text := range map[string]string{
		"itself":         "Include ~/itself",
		"too many files": strings.Repeat("Include ~/empty\n", maxIncludes+1),
		"empty path":     `Include ""`,
		"pattern":        "Include [",
	} {
		t.Run(name, func(t *testing.T) {
			l := machine(t, map[string]string{"~/" + name: text, "~/empty": ""})
			_, err := l.load([]string{filepath.Join(l.home, name)})
			if e, ok := errors.AsType[*Error](err); !ok || e.Line == 0 || !strings.Contains(err.Error(), "Include: ") {
				t.Errorf("got %v", err)
			}
		})
	}
	l = machine(t, map[string]string{"ssh_config": "\nInclude ~/x"})
	if _, err := l.load(nil); err == nil || !strings.Contains(err.Error(), "ssh_config:2: ") {
		t.Errorf("a home directory in the system's file: %v", err)
	}
	big := filepath.Join(l.home, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxFileSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := l.load([]string{big}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a long file: %v", err)
	}
}

// TestOwner loads files that others may write to.
func TestOwner(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // there are no modes
	}
	l := machine(t, map[string]string{"~/.ssh/config": "Include part", "~/.ssh/part": ""})
	for _, path := range []string{filepath.Join(l.home, ".ssh", "part"), l.userConfig()} {
		if err := os.Chmod(path, 0o606); err != nil {
			t.Fatal(err)
		}
		_, err := l.load(nil)
		if e, ok := errors.AsType[*Error](err); !ok || e.File != path {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Chmod(filepath.Join(l.home, ".ssh", "part"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.load([]string{l.userConfig()}); err != nil {
		t.Errorf("a file that is named is read whoever may write to it, as with ssh -F: %v", err)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{"exit 0": true, "exit 1": false, "exit 255": false} {
		if got, err := shell(t.Context(), line); got != want || err != nil {
			t.Errorf("%s: %v, %v", line, got, err)
		}
	}
	if _, err := shell(t.Context(), "kill -9 $$"); err == nil {
		t.Error("a shell that was killed has an answer")
	}
	begun := time.Now()
	if _, err := shellWithin(t.Context(), 50*time.Millisecond, "sleep 1000"); err == nil || time.Since(begun) > time.Minute {
		t.Errorf("a command without end: %v after %v", err, time.Since(begun))
	}
	runs := 0
	e := execs{run: func(context.Context, string) (bool, error) { runs++; return true, nil }}
	for range 3 {
		for _, line := range []string{"a", "b"} {
			if is, err := e.holds(t.Context(), line); !is || err != nil {
				t.Error(is, err)
			}
		}
	}
	if runs != 2 {
		t.Errorf("two lines were run %d times", runs)
	}
}

// TestMatchNew tests criteria that the installed ssh may not know.
func TestMatchNew(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"Match tagged a*":                           false,
		"Tag abc\nMatch tagged a*":                  true,
		"Tag abc\nMatch !tagged x,abc":              false,
		"Match localnetwork 127.0.0.0/8,::1":        true,
		"Match localnetwork 203.0.113.0/24":         false,
		"Match localnetwork !127.0.0.1/32,!::1/128": false,
		"Match sessiontype exec":                    true,
		"Match sessiontype shell":                   false,
		"Match version *":                           false,
		"Match !version *":                          false,
		"Match command *":                           false,
		`Match exec "test \"a b\" = 'a b'"`:         true,
		"Match exec=true host=web":                  true,
		`Match host "web"`:                          true,
	} {
		r := &reader{local: &local{user: "me", home: "/home/me"}}
		u, err := r.text(text+"\nUser matched", "config", true, 0)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		f := &File{local: r.local, options: &parsedFile{}, files: []*parsedFile{u}, execs: execs{run: shell}, addresses: addresses}
		s, err := f.Resolve("web", "")
		if err != nil || (s.User == "matched") != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
}

// TestConnectionHash compares %C with ssh.
func TestConnectionHash(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("User u\nPort 23\nHostName h.%h\nControlPath /%C\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	compare(t, config, "foo")
}
