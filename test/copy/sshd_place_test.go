//go:build unix

package copy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// The destination of a copy follows the rules of scp.
func TestSSHDCopyPlace(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		for _, protocol := range bothProtocols {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "from", "to")
				content := []byte("content\n")
				for _, name := range []string{"file", "dir/one", "dir/sub/two"} {
					writeFile(t, filepath.Join(from, name), content)
				}
				for i, test := range []struct{ source, existing, dest, want string }{
					{"file", "", "new", "new"},
					{"file", "", "missing/parents/new", "missing/parents/new"},
					{"file", "", "missing/parents/", "missing/parents/file"},
					{"file", "d/", "d", "d/file"},
					{"file", "d/", "d/", "d/file"},
					{"file", "d/", "d/.", "d/file"},
					{"file", "old", "old", "old"},
					{"file", "d/file", "d", "d/file"},
					{"file", "d/ l -> d", "l", "d/file"},
					{"file", "d/f l -> d/f", "l", "d/f"},
					{"dir", "", "new", "new/sub/two"},
					{"dir", "", "new/", "new/dir/sub/two"},
					{"dir", "d/", "d", "d/dir/sub/two"},
					{"dir/", "d/", "d", "d/dir/sub/two"},
					{"dir/.", "d/", "d", "d/sub/two"},
					{"dir/.", "", "new", "new/sub/two"},
					{"dir/.", "", "new/deep/", "new/deep/sub/two"},
					{"dir", "d/dir/one", "d", "d/dir/one"},
				} {
					place := filepath.Join(to, fmt.Sprint(i))
					for _, entry := range strings.Fields(strings.ReplaceAll(test.existing, " -> ", "->")) {
						name, target, link := strings.Cut(entry, "->")
						switch {
						case link:
							if err := os.Symlink(target, filepath.Join(place, name)); err != nil {
								t.Fatal(err)
							}
						case strings.HasSuffix(entry, "/"):
							if err := os.MkdirAll(filepath.Join(place, entry), 0o755); err != nil {
								t.Fatal(err)
							}
						default:
							writeFile(t, filepath.Join(place, entry), []byte("old"))
						}
					}
					opt := protocol.options
					opt.Recursive = true
					if _, err := direction.copy(b.client, fleettest.Soon(t), from+"/"+test.source, place+"/"+test.dest, &opt); err != nil {
						t.Errorf("%+v: %v", test, err)
						continue
					}
					if got, _ := os.ReadFile(filepath.Join(place, test.want)); string(got) != string(content) {
						t.Errorf("%+v: %q; the destination has %v", test, got, treeOf(t, place, 0))
					}
				}
				nothingLeft(t, b.dir)
			})
		}
	}
}

// Relative paths on a host are below the home directory.
func TestSSHDCopyHome(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	b := bobsBox(t)
	dir := filepath.Base(b.dir)
	defer fleettest.Output(t, b.client, "rm -r ~/"+dir)
	writeFile(t, filepath.Join(b.local, "file"), []byte("x"))
	for _, protocol := range bothProtocols {
		for _, dest := range []string{dir + "/1" + protocol.name, "~/" + dir + "/2" + protocol.name, "./" + dir + "/3" + protocol.name} {
			opt := protocol.options
			_, err := b.client.Upload(fleettest.Soon(t), filepath.Join(b.local, "file"), dest, &opt)
			fleettest.Equal(t, "error", err, nil)
			_, err = b.client.Download(fleettest.Soon(t), dest, filepath.Join(b.local, "got"), &opt)
			fleettest.Equal(t, "error", err, nil)
			sameContent(t, filepath.Join(b.local, "got"), []byte("x"))
		}
		opt := protocol.options
		_, err := b.client.Upload(fleettest.Soon(t), filepath.Join(b.local, "file"), "~root/file", &opt)
		fleettest.AsError[*fleetssh.CopyError](t, err)
		fleettest.Contains(t, err.Error(), "other users")
	}
	fleettest.Equal(t, "files", fleettest.Output(t, b.client, "ls ~/"+dir+" | wc -l"), "6\n")
}

// Entries that are neither files, directories nor links are neither replaced nor copied.
func TestSSHDCopyInTheWay(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		for _, protocol := range bothProtocols {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "from", "to")
				for _, name := range []string{"file", "tree/a", "tree/fifo", "tree/dir", "tree/z"} {
					writeFile(t, filepath.Join(from, name), []byte(name))
				}
				writeFile(t, filepath.Join(to, "tree/dir/inside"), nil)
				for _, dir := range []string{from, to + "/tree", to} {
					if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				device := "/dev/null"
				if os.Geteuid() == 0 { // root could replace it
					device = filepath.Join(to, "null")
					if err := syscall.Mknod(device, syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
						t.Fatal(err)
					}
				}
				for _, test := range []struct{ source, dest string }{
					{from + "/file", to + "/fifo"}, {"/dev/null", to + "/file"}, {from + "/fifo", to + "/file"}, {from + "/file", device},
				} {
					opt := protocol.options
					r, err := direction.copy(b.client, fleettest.Soon(t), test.source, test.dest, &opt)
					if r.Files != 0 {
						t.Errorf("%v: %+v", test, r)
					}
					fleettest.AsError[*fleetssh.CopyError](t, err)
				}
				for _, name := range []string{device, to + "/fifo"} {
					if info, err := os.Lstat(name); err != nil || info.Mode().IsRegular() {
						t.Fatalf("%s: %v, %v", name, info, err)
					}
				}
				opt := protocol.options
				opt.Recursive = true
				r, err := direction.copy(b.client, fleettest.Soon(t), from+"/tree", to, &opt)
				fleettest.AsError[*fleetssh.CopyError](t, err)
				fleettest.Equal(t, "failed", r.Failed, 2)
				fleettest.Equal(t, "files", r.Files, 2)
				sameContent(t, filepath.Join(to, "tree/a"), []byte("tree/a"))
				sameContent(t, filepath.Join(to, "tree/z"), []byte("tree/z"))
				if _, err := os.Stat(filepath.Join(to, "tree/dir/inside")); err != nil {
					t.Error(err)
				}
				nothingLeft(t, b.dir)
			})
		}
	}
}

// Permissions without Preserve: new files get the source's mode, limited by the umask; existing
// files keep their mode and owner.
func TestSSHDCopyModes(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		t.Run("upload"+protocol.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			options := sshdtest.Options{FileServer: sftpServer(t) + " -u 027", Config: []string{`ForceCommand umask 027; eval "$SSH_ORIGINAL_COMMAND"`}}
			b := newCopyBox(t, options)
			from, to := b.paths(bothDirections[0], "from", "to")
			modes := map[string]fs.FileMode{"plain": 0o644, "run": 0o755, "secret": 0o600, "open": 0o666, "old": 0o755, "read": 0o444}
			for name, mode := range modes {
				writeFile(t, filepath.Join(from, name), []byte(name))
				if err := os.Chmod(filepath.Join(from, name), mode); err != nil {
					t.Fatal(err)
				}
			}
			writeFile(t, filepath.Join(to, "old"), nil)
			if err := os.Chmod(filepath.Join(to, "old"), 0o604); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 {
				if err := os.Chown(filepath.Join(to, "old"), 1234, 2345); err != nil {
					t.Fatal(err)
				}
			}
			opt := protocol.options
			opt.Recursive = true
			_, err := b.client.Upload(fleettest.Soon(t), from+"/.", to, &opt)
			fleettest.Equal(t, "error", err, nil)
			for name, mode := range modes {
				info, err := os.Stat(filepath.Join(to, name))
				if err != nil {
					t.Error(err)
					continue
				}
				want := mode &^ 0o027
				if name == "old" {
					want = 0o604
					if stat := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (stat.Uid != 1234 || stat.Gid != 2345) {
						t.Errorf("owner of old: %d, %d", stat.Uid, stat.Gid)
					}
				}
				fleettest.Equal(t, name, info.Mode(), want)
			}
			// With Preserve, new and existing files get the source's mode.
			opt.Preserve = true
			_, err = b.client.Upload(fleettest.Soon(t), from+"/.", to, &opt)
			fleettest.Equal(t, "error", err, nil)
			sameTree(t, from, to, withModes|withTimes)
		})
		t.Run("download"+protocol.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(bothDirections[1], "from", "to")
			writeFile(t, filepath.Join(from, "run"), nil)
			writeFile(t, filepath.Join(from, "old"), []byte("new"))
			writeFile(t, filepath.Join(to, "old"), nil)
			for name, mode := range map[string]fs.FileMode{from + "/run": 0o4755, from + "/old": 0o755, to + "/old": 0o604} {
				if err := errors.Join(os.Chmod(name, mode.Perm()|mode&0o4000<<11)); err != nil {
					t.Fatal(err)
				}
			}
			opt := protocol.options
			opt.Recursive = true
			_, err := b.client.Download(fleettest.Soon(t), from+"/.", to, &opt)
			fleettest.Equal(t, "error", err, nil)
			for name, want := range map[string]fs.FileMode{"run": 0o755, "old": 0o604} {
				info, err := os.Stat(filepath.Join(to, name))
				fleettest.Equal(t, "error", err, nil)
				if err == nil && info.Mode()&0o111 != want&0o111 || info.Mode()&fs.ModeSetuid != 0 {
					t.Errorf("%s: %v, want %v", name, info.Mode(), want)
				}
			}
			sameContent(t, filepath.Join(to, "old"), []byte("new"))
		})
	}
}

// A rate limit is respected, and a time limit ends a copy.
func TestSSHDCopyRate(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, direction := range bothDirections {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "file", "copy")
				writeFile(t, from, fleettest.Noise(3<<20))
				opt := protocol.options
				opt.Rate = 2 << 20
				calls := 0
				opt.Progress = func(p fleetssh.CopyProgress) {
					calls++
					if p.Ended {
						fleettest.Equal(t, "done", p.Done, p.Total)
					}
				}
				begun := time.Now()
				r, err := direction.copy(b.client, fleettest.Soon(t), from, to, &opt)
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, "bytes", r.Bytes, 3<<20)
				// The first block is sent at once, so that the copy takes less than 3 MiB / Rate.
				if took := time.Since(begun); took < time.Second {
					t.Errorf("took %v", took)
				}
				if calls < 2 || calls > 100 {
					t.Errorf("Progress was called %d times", calls)
				}
				opt.Progress, opt.Timeout, opt.Rate = nil, 5*time.Second, 128<<10
				begun = time.Now()
				r, err = direction.copy(b.client, fleettest.Soon(t), from, to+"2", &opt)
				fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.TimeoutError](t, err).Phase, "run")
				fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true})
				if took := time.Since(begun); took > fleettest.Promptly {
					t.Errorf("took %v", took)
				}
				nothingLeft(t, b.dir)
			})
		}
	}
}

// Copies do not depend on the login shell, neither for their own scripts nor for names with
// shell metacharacters.
func TestSSHDCopyLoginShells(t *testing.T) {
	t.Parallel()
	sshdtest.Accounts(t)
	for _, account := range sshdtest.ShellAccounts(t) {
		for _, protocol := range bothProtocols {
			t.Run(account+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				b.server.Authorize(t, account, b.host.Auth.Signers[0].PublicKey())
				b.host.User = account
				client := fleettest.Dial(t, b.host)
				for _, dir := range []string{b.local, b.remote} {
					if err := os.Chmod(dir, 0o777); err != nil {
						t.Fatal(err)
					}
				}
				tree := map[string]string{"a": "1", "wow! it's": "2", "sub/b\\c $x": "3", "sub/empty": ""}
				if protocol.options.Protocol == fleetssh.SFTP {
					tree["sub/two\nlines"] = "4"
				}
				for name, text := range tree {
					writeFile(t, filepath.Join(b.local, "tree", name), []byte(text))
				}
				opt := protocol.options
				opt.Recursive, opt.Verify, opt.Preserve = true, true, true
				_, err := client.Upload(fleettest.Soon(t), filepath.Join(b.local, "tree"), filepath.Join(b.remote, "new folder!/x"), &opt)
				fleettest.Equal(t, "upload", err, nil)
				_, err = client.Download(fleettest.Soon(t), filepath.Join(b.remote, "new folder!/x"), filepath.Join(b.local, "back"), &opt)
				fleettest.Equal(t, "download", err, nil)
				for name, text := range tree {
					sameContent(t, filepath.Join(b.remote, "new folder!/x", name), []byte(text))
					sameContent(t, filepath.Join(b.local, "back", name), []byte(text))
				}
				nothingLeft(t, b.dir)
			})
		}
	}
}
