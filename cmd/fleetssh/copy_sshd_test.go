//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/internal/sshdtest"
)

// copyFleet is a real sshd with two addresses, which the program takes for two hosts.
type copyFleet struct {
	t     *testing.T
	login []string // flags that choose the hosts and log in to them
}

func startCopyFleet(t *testing.T) *copyFleet {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	return startFleetSSHD(t)
}

// startFleetSSHD is startCopyFleet for tests that record nothing.
func startFleetSSHD(t *testing.T) *copyFleet {
	t.Helper()
	s := sshdtest.Start(t, sshdtest.Options{Addresses: []string{"127.0.0.1", "127.0.0.2"}})
	key, account := sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.CurrentUser(t)
	s.Authorize(t, account, key.Public())
	file := filepath.Join(t.TempDir(), "key")
	key.Write(t, file, "")
	return &copyFleet{t, []string{
		"-w", "127.0.0.[1-2]", "-p", fmt.Sprint(s.Port), "-l", account, "-i", file, "-F", "none",
		"--host-key", "accept-new", "--known-hosts", filepath.Join(t.TempDir(), "known_hosts"),
	}}
}

// run runs the program until it ends or ctx ends it.
func (f *copyFleet) run(ctx context.Context, verb string, args ...string) (code int, out, errOut string) {
	var stdout, stderr bytes.Buffer
	code = run(ctx, append(append([]string{verb}, f.login...), args...), stdio{in: strings.NewReader(""), out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// partialFileBegins reports whether the first partial file below a directory has a certain
// beginning.
func partialFileBegins(dir string, beginning []byte) bool {
	names, err := filepath.Glob(filepath.Join(dir, "*", ".*"))
	if err != nil || len(names) == 0 {
		return false
	}
	file, err := os.Open(names[0])
	if err != nil {
		return false
	}
	defer file.Close()
	got := make([]byte, len(beginning))
	_, err = io.ReadFull(file, got)
	return err == nil && bytes.Equal(got, beginning)
}

// Data sent before an interrupt is not sent again.
func TestCopyResumesWithOpenSSH(t *testing.T) {
	sshdtest.CheckLeaks(t)
	f, dir := startCopyFleet(t), t.TempDir()
	text := make([]byte, 24<<20)
	rand.Read(text)
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, text, 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "%(host)s", "copy")
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan string)
	go func() {
		code, out, errOut := f.run(ctx, "put", "-x", "127.0.0.2", "--limit-rate", "8M", source, target)
		ended <- fmt.Sprintf("exit code %d\n%s%s", code, out, errOut)
	}()
	for deadline := time.Now().Add(sshdtest.Patience); !partialFileBegins(dir, text[:3<<20]); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("no partial file holds the first 3 MiB")
			break
		}
	}
	interrupt()
	shown := <-ended
	for _, want := range []string{"exit code 130\n", "  stopped during the copy: 127.0.0.1\n", "hint: run it again with --resume to continue\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("interrupted: %q is not in\n%s", want, shown)
		}
	}
	if whole, _ := filepath.Glob(filepath.Join(dir, "*", "copy")); len(whole) > 0 {
		t.Errorf("an incomplete copy has its final name: %q", whole)
	}
	code, out, errOut := f.run(t.Context(), "put", "-x", "127.0.0.2", "--resume", "--verify", "--format", "json", source, target)
	if code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	sent := -1
	for line := range strings.Lines(out) {
		var o struct {
			Type  string
			Bytes int
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		if o.Type == "result" {
			sent = o.Bytes
		}
	}
	if sent <= 0 || sent > len(text)-1<<20 {
		t.Errorf("%d bytes of %d were sent again", sent, len(text))
	}
	if got, err := os.ReadFile(filepath.Join(dir, "127.0.0.1", "copy")); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the copy differs from its source (%v)", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".*")); len(left) > 0 {
		t.Errorf("partial files left behind: %q", left)
	}
}

// Both protocols copy a tree in both directions, with everything that Preserve keeps.
func TestCopyTreesWithOpenSSH(t *testing.T) {
	sshdtest.CheckLeaks(t)
	f := startCopyFleet(t)
	when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, protocol := range []string{"sftp", "scp"} {
		dir := t.TempDir()
		tree := filepath.Join(dir, "tree")
		if err := os.MkdirAll(filepath.Join(tree, "a b", "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, mode := range map[string]os.FileMode{"a b/-x 'y'": 0o640, "caf\xe9": 0o755, "*": 0o600} {
			path := filepath.Join(tree, name)
			if err := os.WriteFile(path, []byte(name), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{
			{"put", "--protocol", protocol, "-r", "-P", tree, filepath.Join(dir, "remote", "%(host)s") + "/"},
			{"get", "--protocol", protocol, "-r", "-P", filepath.Join(dir, "remote", "%(host)s", "tree"), filepath.Join(dir, "back")},
		} {
			if code, out, errOut := f.run(t.Context(), args[0], args[1:]...); code != exit.OK || !strings.Contains(out, " (2): 3 files, ") {
				t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errOut)
			}
		}
		for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
			for name, mode := range map[string]os.FileMode{"a b/-x 'y'": 0o640, "caf\xe9": 0o755, "*": 0o600, "a b/empty": os.ModeDir | 0o755} {
				info, err := os.Stat(filepath.Join(dir, "back", host, "tree", name))
				if err != nil || info.Mode() != mode || mode.IsRegular() && !info.ModTime().Equal(when) {
					t.Errorf("%s, %s: %q: %v, %v", protocol, host, name, info, err)
				}
			}
		}
	}
}

// put installs files with owner, mode and backup, shows one line for each host, and rerun repeats it.
func TestPutInstallSSHD(t *testing.T) {
	f := startCopyFleet(t)
	if out, err := exec.Command("sudo", "-n", "true").CombinedOutput(); err != nil {
		t.Skipf("sudo asks for a password: %s", out)
	}
	local, remote := filepath.Join(t.TempDir(), "app.conf"), filepath.Join(t.TempDir(), "app.conf")
	for i, text := range []string{"one\n", "two\n"} {
		if err := os.WriteFile(local, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"-x", "127.0.0.2", "--sudo", "--mode", "0601", "--owner", "nobody", "--backup", local, remote}
		code, out, errOut := f.run(t.Context(), "put", args...)
		if code != exit.OK || errOut != "" || !strings.HasPrefix(out, "127.0.0.1: 1 file, 4 B in ") {
			t.Fatalf("%d: %q %q", code, out, errOut)
		}
		got, err := os.ReadFile(remote)
		if err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
		if info, err := os.Stat(remote); err != nil || info.Mode() != 0o601 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if kept, err := filepath.Glob(remote + ".*Z~"); err != nil || len(kept) != i {
			t.Errorf("%v, %v", kept, err)
		}
	}
	for mode, want := range map[string]string{"0601": "the same: 1 file\n", "0644": remote + ": mode 0601, want 0644\n"} {
		code, out, errOut := f.run(t.Context(), "put", "-x", "127.0.0.2", "--check", "--sudo", "--mode", mode, "--owner", "nobody", local, remote)
		if out != "127.0.0.1: "+want || (code == exit.OK) != (mode == "0601") {
			t.Errorf("%d: %q %q", code, out, errOut)
		}
	}
	code, out, _ := f.run(t.Context(), "put", "-x", "127.0.0.2", "--sudo", "--owner", "no-such-user", local, remote)
	if code != exit.Command || !strings.Contains(out, "0 files") {
		t.Errorf("%d: %q", code, out)
	}
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), []string{"rerun", "last", "--failed"}, stdio{in: strings.NewReader(""), out: &stdout, err: &stderr})
	if code != exit.Command || !strings.Contains(stderr.String(), "invalid user") {
		t.Errorf("%d: %q %q", code, stdout.String(), stderr.String())
	}
}

// wait and reboot work with OpenSSH. The hosts are this machine, so nothing that reboots is sent, and the
// boot ID stays the same.
func TestWaitSSHD(t *testing.T) {
	t.Parallel()
	f := startFleetSSHD(t)
	if code, out, errOut := f.run(t.Context(), "wait", "--command", "test -e /"); code != exit.OK || !strings.HasPrefix(out, "127.0.0.[1-2] (2): the command succeeds within ") {
		t.Errorf("%d: %q %q", code, out, errOut)
	}
	code, out, errOut := f.run(t.Context(), "reboot", "-x", "127.0.0.2", "--command", "true", "--every", "2s", "--timeout", "10s", "--no-record")
	if code != exit.Stopped || out != "" || !strings.Contains(errOut, "  not back: 127.0.0.1: after 10s: its boot ID has not changed\n") {
		t.Errorf("%d: %q %q", code, out, errOut)
	}
}
