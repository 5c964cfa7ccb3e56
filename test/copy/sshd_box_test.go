//go:build unix

package copy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// copyBox is an sshd to copy to and from, a connection to it, and a directory for each side. The
// sshd runs on this machine, so that tests access the remote directory as well.
type copyBox struct {
	t      testing.TB
	server *sshdtest.Server
	host   fleetssh.HostConfig
	client *fleetssh.Client
	dir    string // contains local and remote
	local  string
	remote string
}

// newCopyBox starts an sshd. Its file server is OpenSSH's sftp-server, as a separate process,
// unless opt names another.
func newCopyBox(t testing.TB, opt sshdtest.Options) *copyBox {
	t.Helper()
	b := &copyBox{t: t}
	if opt.FileServer == "" {
		opt.FileServer = sftpServer(t)
	}
	b.server, b.host = fleettest.StartSSHD(t, opt)
	b.client = fleettest.Dial(t, b.host)
	b.dir = sshdtest.SharedDir(t)
	b.local, b.remote = filepath.Join(b.dir, "local"), filepath.Join(b.dir, "remote")
	for _, dir := range []string{b.local, b.remote} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// sftpServer returns the path of OpenSSH's sftp-server.
func sftpServer(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("sftp-server is not installed: run .ci/prepare")
	return ""
}

// signalServers sends a signal to the file servers of the connections.
func (b *copyBox) signalServers(sig syscall.Signal) { b.signal("sftp-server", sig) }

// signal sends a signal to the processes of the connections that run a program. A stopped process
// would outlive its sshd, so that it is killed at the end of the test.
func (b *copyBox) signal(program string, sig syscall.Signal) {
	for _, pid := range b.processes(program) {
		if sig == syscall.SIGSTOP {
			b.t.Cleanup(func() {
				if runs(pid, program) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			})
		}
		syscall.Kill(pid, sig)
	}
}

// runs reports whether a process runs a program.
func runs(pid int, program string) bool {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return string(name) == program+"\n"
}

// processes returns the processes of the connections that run a program.
func (b *copyBox) processes(program string) (found []int) {
	pids := b.server.Connections()
	for i := 0; i < len(pids); i++ {
		pids = append(pids, sshdtest.Children(pids[i])...)
	}
	for _, pid := range pids {
		if runs(pid, program) {
			found = append(found, pid)
		}
	}
	return found
}

// copyDirection is the direction of a copy.
type copyDirection struct {
	name string
	copy func(c *fleetssh.Client, ctx context.Context, from, to string, opt *fleetssh.CopyOptions) (fleetssh.CopyResult, error)
}

var bothDirections = []copyDirection{{"upload", (*fleetssh.Client).Upload}, {"download", (*fleetssh.Client).Download}}

// bothProtocols are the options that choose each protocol.
var bothProtocols = []struct {
	name    string
	options fleetssh.CopyOptions
}{{", SFTP", fleetssh.CopyOptions{}}, {", SCP", fleetssh.CopyOptions{Protocol: fleetssh.SCP}}}

// paths returns a path on the side of the source, and one on the side of the destination.
func (b *copyBox) paths(direction copyDirection, from, to string) (string, string) {
	if direction.name == "upload" {
		return filepath.Join(b.local, from), filepath.Join(b.remote, to)
	}
	return filepath.Join(b.remote, from), filepath.Join(b.local, to)
}

// writeFile writes a file, and creates its directory if that is missing.
func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sameContent expects the content of a file.
func sameContent(t testing.TB, name string, data []byte) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, data) {
		t.Errorf("%q: %d bytes with digest %x, want %d with %x", name, len(got), sha256.Sum256(got), len(data), sha256.Sum256(data))
	}
}

// partialFiles returns the partial files below a directory.
func partialFiles(t testing.TB, dir string) (left []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(filepath.Base(path), ".fleetssh-") {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return left
}

// nothingLeft expects no partial file below a directory.
func nothingLeft(t testing.TB, dir string) {
	t.Helper()
	if left := partialFiles(t, dir); len(left) > 0 {
		t.Errorf("partial files left behind: %q", left)
	}
}

// treeAspects says what sameTree compares, in addition to names, content and targets of links.
type treeAspects int

const (
	withModes treeAspects = 1 << iota
	withTimes
)

// sameTree expects two trees to be equal.
func sameTree(t testing.TB, want, got string, aspects treeAspects) {
	t.Helper()
	a, b := treeOf(t, want, aspects), treeOf(t, got, aspects)
	wrong := 0
	for name, text := range a {
		if b[name] != text {
			if wrong++; wrong > 10 {
				t.Fatal("and more differences")
			}
			t.Errorf("%q: got %.200q, want %.200q", name, b[name], text)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			t.Errorf("%q is unexpected", name)
		}
	}
}

// treeOf describes the entries of a tree, by their names.
func treeOf(t testing.TB, root string, aspects treeAspects) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		text := info.Mode().Type().String()
		link := info.Mode().Type() == fs.ModeSymlink
		if aspects&withModes != 0 && !link {
			text = info.Mode().String()
		}
		if aspects&withTimes != 0 && !link {
			text += fmt.Sprintf(" %d", info.ModTime().Unix())
		}
		switch {
		case link:
			target, err := os.Readlink(path)
			all[name] = text + " " + target
			return err
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			all[name] = fmt.Sprintf("%s %d %x", text, len(data), sha256.Sum256(data))
			return err
		}
		all[name] = text
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all
}
