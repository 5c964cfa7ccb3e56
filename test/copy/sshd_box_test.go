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

// copyBox is a server to copy to and from, a connection, and a directory for each side.
// The server is on this machine: what it has is looked at directly.
type copyBox struct {
	t      testing.TB
	server *sshdtest.Server
	host   fleetssh.HostConfig
	client *fleetssh.Client
	dir    string // holds the others
	here   string
	there  string
}

// newCopyBox starts a server. Unless another is given, its file server is OpenSSH's, as a
// process of its own.
func newCopyBox(t testing.TB, opt sshdtest.Options) *copyBox {
	t.Helper()
	b := &copyBox{t: t}
	if opt.FileServer == "" {
		opt.FileServer = sftpServer(t)
	}
	b.server, b.host = fleettest.StartSSHD(t, opt)
	b.client = fleettest.Dial(t, b.host)
	b.dir = sshdtest.SharedDir(t)
	b.here, b.there = filepath.Join(b.dir, "here"), filepath.Join(b.dir, "there")
	for _, dir := range []string{b.here, b.there} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// sftpServer returns the path of OpenSSH's file server.
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

// signalServers sends a signal to the file servers.
func (b *copyBox) signalServers(sig syscall.Signal) { b.signal("sftp-server", sig) }

// signal sends a signal to the programs of a name. One that is stopped does not see that
// its server has gone, and would be left behind.
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

// runs reports whether a process is one of a program.
func runs(pid int, program string) bool {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return string(name) == program+"\n"
}

// processes returns those of the server that run a program.
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

// copyWay is the way that files go.
type copyWay struct {
	name string
	copy func(c *fleetssh.Client, ctx context.Context, from, to string, opt *fleetssh.CopyOptions) (fleetssh.CopyResult, error)
}

var bothWays = []copyWay{{"upload", (*fleetssh.Client).Upload}, {"download", (*fleetssh.Client).Download}}

// bothProtocols are options for the protocols.
var bothProtocols = []struct {
	name    string
	options fleetssh.CopyOptions
}{{", SFTP", fleetssh.CopyOptions{}}, {", SCP", fleetssh.CopyOptions{Protocol: fleetssh.SCP}}}

// paths returns a path on the side that files come from, and one on the other.
func (b *copyBox) paths(way copyWay, from, to string) (string, string) {
	if way.name == "upload" {
		return filepath.Join(b.here, from), filepath.Join(b.there, to)
	}
	return filepath.Join(b.there, from), filepath.Join(b.here, to)
}

// writeFile writes a file, in a directory that is made if it is missing.
func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sameContent expects a file to hold data.
func sameContent(t testing.TB, name string, data []byte) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, data) {
		t.Errorf("%q: %d bytes with digest %x, want %d with %x", name, len(got), sha256.Sum256(got), len(data), sha256.Sum256(data))
	}
}

// unfinished returns the temporary files below a directory.
func unfinished(t testing.TB, dir string) (left []string) {
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

// nothingLeft expects no temporary file.
func nothingLeft(t testing.TB, dir string) {
	t.Helper()
	if left := unfinished(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// treeAspects is what sameTree compares beside names, content and the targets of links.
type treeAspects int

const (
	withModes treeAspects = 1 << iota
	withTimes
)

// sameTree expects two trees to be the same.
func sameTree(t testing.TB, want, got string, aspects treeAspects) {
	t.Helper()
	a, b := treeOf(t, want, aspects), treeOf(t, got, aspects)
	wrong := 0
	for name, text := range a {
		if b[name] != text {
			if wrong++; wrong > 10 {
				t.Fatal("and more")
			}
			t.Errorf("%q: got %.200q, want %.200q", name, b[name], text)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			t.Errorf("%q is too much", name)
		}
	}
}

// treeOf describes a tree, with a text for each name.
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
