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

// A full disk fails the file that it is too small for, and not the others. Only root can
// mount a small one: for others, a bound on the size of files stands for it on the host.
func TestSSHDCopyDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		b := newCopyBox(t, sshdtest.Options{FileServer: wrapper(t, "trap '' XFSZ; ulimit -f 2048; exec "+sftpServer(t))})
		from, to := b.paths(bothWays[0], "tree", "small")
		err := copyToFullDisk(t, b, bothWays[0], fleetssh.CopyOptions{}, from, to)
		fleettest.Contains(t, err.Error(), "write")
		return
	}
	for _, way := range bothWays {
		for _, protocol := range bothProtocols {
			t.Run(way.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(way, "tree", "small")
				smallDisk(t, to)
				err := copyToFullDisk(t, b, way, protocol.options, from, to)
				fleettest.Contains(t, strings.ToLower(err.Error()), "no space left")
			})
		}
	}
}

// copyToFullDisk copies three files, of which the largest has no room, and returns why.
func copyToFullDisk(t *testing.T, b *copyBox, way copyWay, opt fleetssh.CopyOptions, from, to string) error {
	t.Helper()
	writeFile(t, filepath.Join(from, "a"), fleettest.Noise(100<<10))
	writeFile(t, filepath.Join(from, "large"), fleettest.Noise(5<<20))
	writeFile(t, filepath.Join(from, "z"), fleettest.Noise(100<<10))
	old := []byte("what was there")
	writeFile(t, filepath.Join(to, "large"), old)
	opt.Recursive, opt.OpenFiles = true, 1 // one file after another
	r, err := way.copy(b.client, fleettest.Soon(t), from+"/.", to, &opt)
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

// smallDisk mounts a file system of 2 MiB on a directory that it makes.
func smallDisk(t testing.TB, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "fleetssh-test", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		// A process that is being started has the files of this one open for a moment.
		sshdtest.Eventually(t, fleettest.Patience, "umount "+dir, func() bool {
			return exec.Command("umount", dir).Run() == nil
		})
	})
}

// A host with a bound on the size of files says so too.
func TestSSHDCopyFileTooLarge(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	b := newCopyBox(t, sshdtest.Options{FileServer: wrapper(t, "trap '' XFSZ; ulimit -f 2048; exec "+sftpServer(t))})
	writeFile(t, filepath.Join(b.here, "large"), fleettest.Noise(5<<20))
	writeFile(t, filepath.Join(b.here, "small"), fleettest.Noise(100<<10))
	r, err := b.client.Upload(fleettest.Soon(t), b.here, b.there, &fleetssh.CopyOptions{Recursive: true})
	e := fleettest.AsError[*fleetssh.CopyError](t, err)
	fleettest.Equal(t, "path", e.Path, filepath.Join(b.there, "here/large"))
	fleettest.Equal(t, "op", e.Op, "write")
	fleettest.Equal(t, "failed", r.Failed, 1)
	fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
	sameContent(t, filepath.Join(b.there, "here/small"), fleettest.Noise(100<<10))
	nothingLeft(t, b.dir)
}

// wrapper returns the path of a script.
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
			denied := filepath.Join(b.there, "here", "denied")
			for _, name := range []string{"a", "denied/file", "denied/deep/file", "z"} {
				writeFile(t, filepath.Join(b.here, name), []byte(name))
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
			r, err := b.client.Upload(fleettest.Soon(t), b.here, b.there, &opt)
			e := fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
			fleettest.Contains(t, e.Path, denied)
			fleettest.Contains(t, strings.ToLower(e.Error()), "permission denied", b.host.Host)
			fleettest.Equal(t, "files", r.Files, 2)
			fleettest.Equal(t, "more", e.More, r.Failed-1)
			fleettest.Equal(t, "told", len(failed), r.Failed)
			sameContent(t, filepath.Join(b.there, "here/a"), []byte("a"))
			sameContent(t, filepath.Join(b.there, "here/z"), []byte("z"))
			nothingLeft(t, b.dir)
		})
		t.Run("download"+protocol.name, func(t *testing.T) {
			t.Parallel()
			b := bobsBox(t)
			for _, name := range []string{"a", "denied", "z", "locked/file"} {
				writeFile(t, filepath.Join(b.there, name), []byte(name))
			}
			for _, name := range []string{"denied", "locked"} {
				if err := os.Chmod(filepath.Join(b.there, name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			opt := protocol.options
			opt.Recursive = true
			r, err := b.client.Download(fleettest.Soon(t), b.there, b.here, &opt)
			e := fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
			fleettest.Contains(t, strings.ToLower(e.Error()), "permission denied")
			fleettest.Equal(t, "files", r.Files, 2)
			fleettest.Equal(t, "failed", r.Failed, 2)
			sameContent(t, filepath.Join(b.here, "there/a"), []byte("a"))
			sameContent(t, filepath.Join(b.here, "there/z"), []byte("z"))
			nothingLeft(t, b.dir)
		})
	}
	t.Run("destination", func(t *testing.T) {
		t.Parallel()
		b := bobsBox(t)
		writeFile(t, filepath.Join(b.here, "file"), []byte("x"))
		if err := os.Chown(b.there, 0, 0); err != nil {
			t.Fatal(err)
		}
		for _, protocol := range bothProtocols {
			opt := protocol.options
			r, err := b.client.Upload(fleettest.Soon(t), filepath.Join(b.here, "file"), b.there+"/new/file", &opt)
			fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
			fleettest.Contains(t, strings.ToLower(err.Error()), "permission denied", b.there+"/new")
		}
	})
}

// bobsBox is a copyBox whose account is not root; the directory on the host is his.
func bobsBox(t testing.TB) *copyBox {
	t.Helper()
	sshdtest.CheckLeaks(t)
	sshdtest.Accounts(t)
	b := newCopyBox(t, sshdtest.Options{})
	b.server.Authorize(t, sshdtest.Bob, b.host.Auth.Signers[0].PublicKey())
	b.host.User = sshdtest.Bob
	b.client = fleettest.Dial(t, b.host)
	if err := os.Chown(b.there, bobsID(t), -1); err != nil {
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

// A host without a file server is reported, and SCP needs none.
func TestSSHDCopyNoFileServer(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	b := newCopyBox(t, sshdtest.Options{FileServer: sshdtest.NoFileServer})
	for _, way := range bothWays {
		from, to := b.paths(way, "file "+way.name, "copy "+way.name)
		data := fleettest.Noise(300 << 10)
		writeFile(t, from, data)
		r, err := way.copy(b.client, fleettest.Soon(t), from, to, nil)
		e := fleettest.AsError[*fleetssh.SessionError](t, err)
		fleettest.Equal(t, "phase", e.Phase, "subsystem")
		fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "subsystem"})
		r, err = way.copy(b.client, fleettest.Soon(t), from, to, &fleetssh.CopyOptions{Protocol: fleetssh.SCP, Verify: true})
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited})
		sameContent(t, to, data)
	}
	nothingLeft(t, b.dir)
}

// What is no file server, or ends at once, is told apart.
func TestSSHDCopyBadFileServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, lines, want string }{
		{"talks", "echo Welcome to this host; exec cat", "does not speak SFTP"},
		{"ends", "echo library missing >&2; exit 3", "ended at once: exit code 3"},
		{"is not there", "exec /nonexistent/sftp-server", "exit code 127"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{FileServer: wrapper(t, test.lines)})
			writeFile(t, filepath.Join(b.here, "file"), []byte("x"))
			r, err := b.client.Upload(fleettest.Soon(t), filepath.Join(b.here, "file"), b.there, nil)
			fleettest.AsError[*fleetssh.SessionError](t, err)
			fleettest.Contains(t, err.Error(), test.want)
			fleettest.Equal(t, "outcome", r.Outcome.Kind, fleetssh.NotStarted)
			fleettest.Equal(t, "output", fleettest.Output(t, b.client, "echo here"), "here\n")
		})
	}
}

// A host that allows one session has its files, too.
func TestSSHDCopyOneSession(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, way := range bothWays {
			t.Run(way.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
				from, to := b.paths(way, "tree", "copy")
				const files = 220 // more than one command names; with SCP, each waits for two answers
				for i := range files {
					writeFile(t, filepath.Join(from, fmt.Sprint(i%7), fmt.Sprint(i)), fleettest.Noise(i))
				}
				opt := protocol.options
				opt.Recursive, opt.Verify = true, protocol.name == ", SFTP"
				r, err := way.copy(b.client, fleettest.Soon(t), from, to, &opt)
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
			for _, way := range bothWays {
				from, to := b.paths(way, "file "+way.name, "copy "+way.name)
				writeFile(t, from, data)
				writeFile(t, to, []byte("old"))
				_, err := way.copy(b.client, fleettest.Soon(t), from, to, nil)
				fleettest.Equal(t, "error", err, nil)
				sameContent(t, to, data)
			}
			nothingLeft(t, b.dir)
		})
	}
}

// A connection that is lost while a tree is copied is one failure, and none of the files
// that have their names is incomplete.
func TestSSHDCopyTreeCut(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, way := range bothWays {
			t.Run(way.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(way, "tree", "copy")
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
				r, err := way.copy(b.client, ctx, from, to, &opt)
				fleettest.AsError[*fleetssh.ConnectionError](t, err)
				fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Lost})
				fleettest.Equal(t, "files", r.Files, ended)
				have := 0
				for name, text := range treeOf(t, to, 0) {
					if !strings.Contains(name, ".fleetssh-") && bytes.HasPrefix([]byte(text), []byte("-")) {
						have++
						sameContent(t, filepath.Join(to, name), fleettest.Noise(100<<10)) // large is not among them
					}
				}
				if have < r.Files {
					t.Errorf("%d files are there of %d", have, r.Files)
				}

				c := fleettest.Dial(t, b.host)
				opt.Progress, opt.Resume, opt.Delete = nil, protocol.name == ", SFTP", protocol.name == ", SFTP"
				_, err = way.copy(c, fleettest.Soon(t), from+"/.", to, &opt)
				fleettest.Equal(t, "error", err, nil)
				if opt.Delete { // SCP leaves what it cannot know of
					sameTree(t, from, to, 0)
				}
			})
		}
	}
}
