//go:build unix

package copy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// On a full disk, only the file without room fails. Only root can mount a small disk: for other
// users, a limit on the size of files on the host takes its place.
func TestSSHDCopyDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		b := newCopyBox(t, sshdtest.Options{FileServer: wrapper(t, "trap '' XFSZ; ulimit -f 2048; exec "+sftpServer(t))})
		from, to := b.paths(bothDirections[0], "tree", "small")
		err := copyToFullDisk(t, b, bothDirections[0], fleetssh.CopyOptions{}, from, to)
		fleettest.Contains(t, err.Error(), "write")
		return
	}
	for _, direction := range bothDirections {
		for _, protocol := range bothProtocols {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "tree", "small")
				smallDisk(t, to)
				err := copyToFullDisk(t, b, direction, protocol.options, from, to)
				fleettest.Contains(t, strings.ToLower(err.Error()), "no space left")
			})
		}
	}
}

// copyToFullDisk copies three files, the largest of which has no room, and returns the error.
func copyToFullDisk(t *testing.T, b *copyBox, direction copyDirection, opt fleetssh.CopyOptions, from, to string) error {
	t.Helper()
	writeFile(t, filepath.Join(from, "a"), fleettest.Noise(100<<10))
	writeFile(t, filepath.Join(from, "large"), fleettest.Noise(5<<20))
	writeFile(t, filepath.Join(from, "z"), fleettest.Noise(100<<10))
	old := []byte("old content")
	writeFile(t, filepath.Join(to, "large"), old)
	opt.Recursive, opt.OpenFiles = true, 1 // one file after another
	r, err := direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &opt)
	e := fleettest.AsError[*fleetssh.CopyError](t, err)
	fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
	fleettest.Equal(t, "path", filepath.Base(e.Path), "large")
	fleettest.Equal(t, "failed", r.Failed, 1)
	fleettest.Equal(t, "files", r.Files, 2)
	sameContent(t, filepath.Join(to, "a"), fleettest.Noise(100<<10))
	sameContent(t, filepath.Join(to, "z"), fleettest.Noise(100<<10))
	sameContent(t, filepath.Join(to, "large"), old)
	nothingLeft(t, b.dir)
	return err
}

// smallDisk creates a directory and mounts a file system of 2 MiB on it.
func smallDisk(t testing.TB, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "fleetssh-test", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		// Between fork and exec, a child process of this one has its files open.
		sshdtest.Eventually(t, fleettest.Patience, "umount "+dir, func() bool {
			return exec.Command("umount", dir).Run() == nil
		})
	})
}

// A file above the host's limit on the size of files fails, and the others are copied.
func TestSSHDCopyFileTooLarge(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	b := newCopyBox(t, sshdtest.Options{FileServer: wrapper(t, "trap '' XFSZ; ulimit -f 2048; exec "+sftpServer(t))})
	writeFile(t, filepath.Join(b.local, "large"), fleettest.Noise(5<<20))
	writeFile(t, filepath.Join(b.local, "small"), fleettest.Noise(100<<10))
	r, err := b.client.Upload(fleettest.Soon(t), b.local, b.remote, &fleetssh.CopyOptions{Recursive: true})
	e := fleettest.AsError[*fleetssh.CopyError](t, err)
	fleettest.Equal(t, "path", e.Path, filepath.Join(b.remote, "local/large"))
	fleettest.Equal(t, "op", e.Op, "write")
	fleettest.Equal(t, "failed", r.Failed, 1)
	fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
	sameContent(t, filepath.Join(b.remote, "local/small"), fleettest.Noise(100<<10))
	nothingLeft(t, b.dir)
}

// wrapper writes a shell script and returns its path.
func wrapper(t testing.TB, lines string) string {
	t.Helper()
	name := filepath.Join(sshdtest.SharedDir(t), "wrapper")
	sshdtest.WriteProgram(t, name, "#!/bin/sh\n"+lines+"\n")
	return name
}

// Files that the account may not read or write do not stop the others.
func TestSSHDCopyPermissionDenied(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		t.Run("upload"+protocol.name, func(t *testing.T) {
			t.Parallel()
			b := bobsBox(t)
			denied := filepath.Join(b.remote, "local", "denied")
			for _, name := range []string{"a", "denied/file", "denied/deep/file", "z"} {
				writeFile(t, filepath.Join(b.local, name), []byte(name))
			}
			writeFile(t, filepath.Join(denied, "old"), []byte("not bob's"))
			opt := protocol.options
			opt.Recursive = true
			failed := make(map[string]error)
			opt.Progress = func(p fleetssh.CopyProgress) {
				if p.Err != nil {
					failed[p.Path] = p.Err
				}
			}
			if err := os.Chown(filepath.Dir(denied), bobsID(t), -1); err != nil {
				t.Fatal(err)
			}
			r, err := b.client.Upload(fleettest.Soon(t), b.local, b.remote, &opt)
			e := fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
			fleettest.Contains(t, e.Path, denied)
			fleettest.Contains(t, strings.ToLower(e.Error()), "permission denied", b.host.Host)
			fleettest.Equal(t, "files", r.Files, 2)
			fleettest.Equal(t, "more", e.More, r.Failed-1)
			fleettest.Equal(t, "failures in Progress", len(failed), r.Failed)
			sameContent(t, filepath.Join(b.remote, "local/a"), []byte("a"))
			sameContent(t, filepath.Join(b.remote, "local/z"), []byte("z"))
			nothingLeft(t, b.dir)
		})
		t.Run("download"+protocol.name, func(t *testing.T) {
			t.Parallel()
			b := bobsBox(t)
			for _, name := range []string{"a", "denied", "z", "locked/file"} {
				writeFile(t, filepath.Join(b.remote, name), []byte(name))
			}
			for _, name := range []string{"denied", "locked"} {
				if err := os.Chmod(filepath.Join(b.remote, name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			opt := protocol.options
			opt.Recursive = true
			r, err := b.client.Download(fleettest.Soon(t), b.remote, b.local, &opt)
			e := fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
			fleettest.Contains(t, strings.ToLower(e.Error()), "permission denied")
			fleettest.Equal(t, "files", r.Files, 2)
			fleettest.Equal(t, "failed", r.Failed, 2)
			sameContent(t, filepath.Join(b.local, "remote/a"), []byte("a"))
			sameContent(t, filepath.Join(b.local, "remote/z"), []byte("z"))
			nothingLeft(t, b.dir)
		})
	}
	t.Run("destination", func(t *testing.T) {
		t.Parallel()
		b := bobsBox(t)
		writeFile(t, filepath.Join(b.local, "file"), []byte("x"))
		if err := os.Chown(b.remote, 0, 0); err != nil {
			t.Fatal(err)
		}
		for _, protocol := range bothProtocols {
			opt := protocol.options
			r, err := b.client.Upload(fleettest.Soon(t), filepath.Join(b.local, "file"), b.remote+"/new/file", &opt)
			fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
			fleettest.Contains(t, strings.ToLower(err.Error()), "permission denied", b.remote+"/new")
		}
	})
}

// bobsBox returns a copyBox that logs in as Bob, who owns the remote directory.
func bobsBox(t testing.TB) *copyBox {
	t.Helper()
	sshdtest.CheckLeaks(t)
	sshdtest.Accounts(t)
	b := newCopyBox(t, sshdtest.Options{})
	b.server.Authorize(t, sshdtest.Bob, b.host.Auth.Signers[0].PublicKey())
	b.host.User = sshdtest.Bob
	b.client = fleettest.Dial(t, b.host)
	if err := os.Chown(b.remote, bobsID(t), -1); err != nil {
		t.Fatal(err)
	}
	return b
}

func bobsID(t testing.TB) int {
	t.Helper()
	out, err := exec.Command("id", "-u", sshdtest.Bob).Output()
	if err != nil {
		t.Fatal(err)
	}
	var id int
	if _, err := fmt.Sscan(string(out), &id); err != nil {
		t.Fatal(err)
	}
	return id
}

// A host without a file server is reported. SCP works without one.
func TestSSHDCopyNoFileServer(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	b := newCopyBox(t, sshdtest.Options{FileServer: sshdtest.NoFileServer})
	for _, direction := range bothDirections {
		from, to := b.paths(direction, "file "+direction.name, "copy "+direction.name)
		data := fleettest.Noise(300 << 10)
		writeFile(t, from, data)
		r, err := direction.copy(b.client, fleettest.Soon(t), from, to, nil)
		e := fleettest.AsError[*fleetssh.SessionError](t, err)
		fleettest.Equal(t, "phase", e.Phase, "subsystem")
		fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "subsystem"})
		r, err = direction.copy(b.client, fleettest.Soon(t), from, to, &fleetssh.CopyOptions{Protocol: fleetssh.SCP, Verify: true})
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited})
		sameContent(t, to, data)
	}
	nothingLeft(t, b.dir)
}

// A file server that does not speak SFTP is told apart from one that ends at once.
func TestSSHDCopyBadFileServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, lines, want string }{
		{"not SFTP", "echo Welcome to this host; exec cat", "does not speak SFTP"},
		{"exits", "echo library missing >&2; exit 3", "ended at once: exit code 3"},
		{"missing", "exec /nonexistent/sftp-server", "exit code 127"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{FileServer: wrapper(t, test.lines)})
			writeFile(t, filepath.Join(b.local, "file"), []byte("x"))
			r, err := b.client.Upload(fleettest.Soon(t), filepath.Join(b.local, "file"), b.remote, nil)
			fleettest.AsError[*fleetssh.SessionError](t, err)
			fleettest.Contains(t, err.Error(), test.want)
			fleettest.Equal(t, "outcome", r.Outcome.Kind, fleetssh.NotStarted)
			fleettest.Equal(t, "output", fleettest.Output(t, b.client, "echo here"), "here\n")
		})
	}
}

// Copies work with a host that allows only one session.
func TestSSHDCopyOneSession(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, direction := range bothDirections {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
				from, to := b.paths(direction, "tree", "copy")
				const files = 220 // more than one command line names; with SCP, each file waits for two answers
				for i := range files {
					writeFile(t, filepath.Join(from, fmt.Sprint(i%7), fmt.Sprint(i)), fleettest.Noise(i))
				}
				opt := protocol.options
				opt.Recursive, opt.Verify = true, protocol.name == ", SFTP"
				r, err := direction.copy(b.client, fleettest.Soon(t), from, to, &opt)
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, "files", r.Files, files)
				sameTree(t, from, to, 0)
				nothingLeft(t, b.dir)
			})
		}
	}
}

// Copies also work with servers that implement less than OpenSSH's.
func TestSSHDCopyPoorServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, denied string }{
		{"no extensions", "posix-rename,fsync,limits,statvfs,fstatvfs,hardlink,lsetstat,expand-path,copy-data"},
		{"no permissions", "fsetstat,setstat"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{FileServer: sftpServer(t) + " -P " + test.denied})
			data := fleettest.Noise(3 << 20)
			for _, direction := range bothDirections {
				from, to := b.paths(direction, "file "+direction.name, "copy "+direction.name)
				writeFile(t, from, data)
				writeFile(t, to, []byte("old"))
				_, err := direction.copy(b.client, fleettest.Soon(t), from, to, nil)
				fleettest.Equal(t, "error", err, nil)
				sameContent(t, to, data)
			}
			nothingLeft(t, b.dir)
		})
	}
}

// If the connection is lost while a tree is copied, the copy fails with one error, and no
// incomplete file has its final name.
func TestSSHDCopyTreeCut(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, direction := range bothDirections {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "tree", "copy")
				for i := range 100 {
					writeFile(t, filepath.Join(from, fmt.Sprint(i%7), fmt.Sprint(i)), fleettest.Noise(100<<10))
				}
				writeFile(t, filepath.Join(from, "3", "large"), fleettest.Noise(8<<20))
				opt := protocol.options
				opt.Recursive, opt.Rate = true, 3<<20
				ended := 0
				var once sync.Once
				opt.Progress = func(p fleetssh.CopyProgress) {
					if p.Ended && p.Err == nil {
						ended++
					}
					if p.Done > 0 && filepath.Base(p.Path) == "large" {
						once.Do(b.server.KillConnections)
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), fleettest.Patience)
				defer cancel()
				r, err := direction.copy(b.client, ctx, from, to, &opt)
				fleettest.AsError[*fleetssh.ConnectionError](t, err)
				fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Lost})
				fleettest.Equal(t, "files", r.Files, ended)
				have := 0
				for name, text := range treeOf(t, to, 0) {
					if !strings.Contains(name, ".fleetssh-") && bytes.HasPrefix([]byte(text), []byte("-")) {
						have++
						sameContent(t, filepath.Join(to, name), fleettest.Noise(100<<10)) // "large" cannot be complete
					}
				}
				if have < r.Files {
					t.Errorf("%d complete files, want at least %d", have, r.Files)
				}

				c := fleettest.Dial(t, b.host)
				opt.Progress, opt.Resume, opt.Delete = nil, protocol.name == ", SFTP", protocol.name == ", SFTP"
				_, err = direction.copy(c, fleettest.Soon(t), from+"/.", to, &opt)
				fleettest.Equal(t, "error", err, nil)
				if opt.Delete { // without it, partial files of the first copy stay
					sameTree(t, from, to, 0)
				}
			})
		}
	}
}
