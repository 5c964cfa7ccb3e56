//go:build unix

package copy

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// richTree creates a tree with every kind of entry that can be copied.
func richTree(t testing.TB, dir string) {
	t.Helper()
	for i, name := range []string{
		"empty", "one", "with space", " leading", "trailing ", "tab\tname", "new\nline", "-rf", "--", "*", "?", "[a]", "a;b", "$HOME", "`id`",
		"quote'", `double"`, `back\slash`, "bytes\xff\xfe", "ümläut", ".hidden", "~", "~root", "%s", "{0}", "#", "CON",
		strings.Repeat("n", 255), strings.Repeat("m", 240), "deep/a/b/c/d/e/f/file", "dir with space/file", "dir\nnew/file", "-d/file",
	} {
		writeFile(t, filepath.Join(dir, name), fleettest.Noise(i*i*7))
	}
	for name, size := range map[string]int{"block": 255 << 10, "block+1": 255<<10 + 1, "block-1": 255<<10 - 1, "large": 9<<20 + 12345} {
		writeFile(t, filepath.Join(dir, "sizes", name), fleettest.Noise(size))
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.MkdirAll(filepath.Join(dir, "empty dir/inner"), 0o755))
	check(os.MkdirAll(filepath.Join(dir, "links"), 0o755))
	for name, target := range map[string]string{
		"file": "../one", "dir": "../deep", "dangling": "nowhere at all", "absolute": "/etc/hostname", "loop": "loop", "strange": "x\xffy 'z", "new\nline": "../one",
	} {
		check(os.Symlink(target, filepath.Join(dir, "links", name)))
	}
	file, err := os.Create(filepath.Join(dir, "sparse"))
	check(err)
	for _, off := range []int64{0, 3 << 20, 6<<20 + 17} {
		_, err = file.WriteAt([]byte("data"), off)
		check(err)
	}
	check(file.Truncate(20 << 20))
	check(file.Close())
	check(os.Truncate(filepath.Join(dir, "empty"), 5<<20)) // one hole
	for name, mode := range map[string]fs.FileMode{"one": 0o400, "with space": 0o755, "-rf": 0o600, "deep/a": 0o700, "deep/a/b": 0o555, "sizes": 0o750, "*": 0o666} {
		check(os.Chmod(filepath.Join(dir, name), mode))
	}
	check(os.Chmod(filepath.Join(dir, "dir with space"), 0o777|fs.ModeSticky))
	old := time.Date(1999, 12, 31, 23, 59, 58, 0, time.UTC)
	for i, name := range []string{"one", "with space", "deep/a/b/c", "deep/a/b", "empty dir/inner", "empty dir", "large", "sizes/large", "."} {
		err := os.Chtimes(filepath.Join(dir, name), old, old.Add(time.Duration(i)*time.Hour))
		if name != "large" {
			check(err)
		}
	}
}

// blocks returns the number of bytes that a file occupies on the disk.
func blocks(t testing.TB, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// A tree with every kind of entry is identical after an upload and a download.
func TestSSHDCopyTree(t *testing.T) {
	t.Parallel()
	for _, config := range []struct {
		name    string
		options sshdtest.Options
		verify  bool
	}{
		{"", sshdtest.Options{}, false},
		{", verified", sshdtest.Options{}, true},
		{", poor server", sshdtest.Options{FileServer: sftpServer(t) + " -P posix-rename,fsync,limits,statvfs"}, false},
		{", one file at once", sshdtest.Options{}, false},
	} {
		t.Run("SFTP"+config.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, config.options)
			tree, back := filepath.Join(b.local, "tree"), filepath.Join(b.local, "back")
			richTree(t, tree)
			opt := &fleetssh.CopyOptions{Recursive: true, Preserve: true, Verify: config.verify}
			if strings.Contains(config.name, "one file") {
				opt.OpenFiles = 1
			}
			r, err := b.client.Upload(fleettest.Soon(t), tree, b.remote, opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "failed", r.Failed, 0)
			remote := filepath.Join(b.remote, "tree")
			sameTree(t, tree, remote, withModes|withTimes)
			r, err = b.client.Download(fleettest.Soon(t), remote, back, opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "failed", r.Failed, 0)
			sameTree(t, tree, back, withModes|withTimes)
			for _, name := range []string{"sparse", "empty"} {
				for _, dir := range []string{remote, back} {
					if has, most := blocks(t, filepath.Join(dir, name)), blocks(t, filepath.Join(tree, name))+3*256<<10; has > most {
						t.Errorf("%s in %s occupies %d bytes, more than %d", name, dir, has, most)
					}
				}
			}
			// A second copy skips all files.
			r, err = b.client.Upload(fleettest.Soon(t), tree, b.remote, opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "files", r.Files, 0)
			r, err = b.client.Download(fleettest.Soon(t), remote+"/.", back, opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "files", r.Files, 0)
			sameTree(t, tree, back, withModes|withTimes)
			nothingLeft(t, b.dir)
		})
	}
}

// SCP cannot carry names with newlines, and follows links on the host; everything else works as
// with SFTP.
func TestSSHDCopyTreeSCP(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	b := newCopyBox(t, sshdtest.Options{})
	tree, back, remote := filepath.Join(b.local, "tree"), filepath.Join(b.local, "back"), filepath.Join(b.remote, "tree")
	richTree(t, tree)
	opt := &fleetssh.CopyOptions{Protocol: fleetssh.SCP, Recursive: true, Preserve: true, Verify: true}
	var refused []string
	opt.Progress = func(p fleetssh.CopyProgress) {
		if p.Err != nil {
			refused = append(refused, strings.TrimPrefix(p.Path, remote+"/"))
		}
	}
	r, err := b.client.Upload(fleettest.Soon(t), tree, b.remote, opt)
	fleettest.AsError[*fleetssh.CopyError](t, err)
	slices.Sort(refused)
	fleettest.Equal(t, "refused", strings.Join(refused, ", "), "dir\nnew, dir\nnew/file, new\nline")
	fleettest.Equal(t, "failed", r.Failed, 3)
	for _, name := range []string{"new\nline", "dir\nnew"} {
		if err := os.RemoveAll(filepath.Join(tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Date(1999, 12, 31, 23, 59, 58, 0, time.UTC)
	for _, dir := range []string{tree, remote} {
		if err := os.Chtimes(dir, old, old); err != nil { // removing entries has changed it
			t.Fatal(err)
		}
	}
	sameTree(t, tree, remote, withModes)

	// The targets of links are copied; loops and dangling links cannot be.
	for _, name := range []string{"dangling", "loop", "strange", "dir", "new\nline"} {
		if err := os.Remove(filepath.Join(remote, "links", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(remote, "dir with space"), 0o777); err != nil { // scp does not transfer the sticky bit
		t.Fatal(err)
	}
	refused = nil
	_, err = b.client.Download(fleettest.Soon(t), remote, back, opt)
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "refused", strings.Join(refused, ", "), "")
	for _, name := range []string{"file", "absolute"} {
		want, err := os.ReadFile(filepath.Join(tree, "links", name))
		fleettest.Equal(t, "error", err, nil)
		sameContent(t, filepath.Join(back, "links", name), want)
	}
	for _, dir := range []string{remote, back} {
		if err := os.RemoveAll(filepath.Join(dir, "links")); err != nil {
			t.Fatal(err)
		}
	}
	sameTree(t, remote, back, withModes)
	nothingLeft(t, b.dir)
}

// Delete removes only files that the source does not have.
func TestSSHDCopyDelete(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(direction, "tree", "copy")
			outside := filepath.Join(b.dir, "outside")
			for _, name := range []string{from + "/keep", from + "/dir/keep", to + "/keep", to + "/dir/keep", to + "/extra", to + "/dir/extra", to + "/old/deep/er/file", to + "/new\nline", outside + "/file", filepath.Dir(to) + "/beside"} {
				writeFile(t, name, []byte(name))
			}
			for _, name := range []string{"out", "dir/out"} {
				if err := os.Symlink(outside, filepath.Join(to, name)); err != nil {
					t.Fatal(err)
				}
			}
			opt := &fleetssh.CopyOptions{Recursive: true, Delete: true}
			// After an error nothing is deleted.
			if err := syscall.Mkfifo(filepath.Join(from, "fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := direction.copy(b.client, fleettest.Soon(t), from+"/.", to, opt)
			fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "deleted", r.Deleted, 0)
			if _, err := os.Lstat(filepath.Join(to, "extra")); err != nil {
				t.Error(err)
			}
			if err := os.Remove(filepath.Join(from, "fifo")); err != nil {
				t.Fatal(err)
			}
			r, err = direction.copy(b.client, fleettest.Soon(t), from+"/.", to, opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "deleted", r.Deleted, 9)
			sameTree(t, from, to, 0)
			for _, name := range []string{outside + "/file", filepath.Dir(to) + "/beside"} {
				sameContent(t, name, []byte(name))
			}
		})
	}
}

// Patterns match files on the host, and several sources are copied into one directory.
func TestSSHDCopySources(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		t.Run(protocol.name[2:], func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			for _, name := range []string{"a.log", "b.log", "c d.log", "x.txt", "lone?", "dir/e.log", "dir2/f.log"} {
				writeFile(t, filepath.Join(b.remote, name), []byte(name))
			}
			got := func(dir string) string {
				var names []string
				for name, text := range treeOf(t, dir, 0) {
					if strings.HasPrefix(text, "-") {
						names = append(names, name)
					}
				}
				slices.Sort(names)
				return strings.Join(names, ", ")
			}
			for i, test := range []struct {
				source string
				more   []string
				want   string
			}{
				{"*.log", nil, "a.log, b.log, c d.log"},
				{"[ab].log", nil, "a.log, b.log"},
				{"lone?", nil, "lone?"},
				{"x.*", nil, "x.txt"},
				{"*.log", []string{"x.txt"}, "a.log, b.log, c d.log, x.txt"},
				{"dir", []string{"a.log"}, "a.log, dir/e.log"},
			} {
				opt := protocol.options
				opt.Glob, opt.Recursive = true, true
				for _, more := range test.more {
					opt.MoreSources = append(opt.MoreSources, filepath.Join(b.remote, more))
				}
				to := filepath.Join(b.local, string(rune('a'+i))) + "/"
				_, err := b.client.Download(fleettest.Soon(t), filepath.Join(b.remote, test.source), to, &opt)
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, test.source, got(to), test.want)
			}
			opt := protocol.options
			opt.Glob = true
			_, err := b.client.Download(fleettest.Soon(t), filepath.Join(b.remote, "*.none"), b.local, &opt)
			fleettest.AsError[*fleetssh.CopyError](t, err)

			// A missing source does not stop the others.
			opt = protocol.options
			opt.MoreSources = []string{b.remote + "/missing", b.remote + "/b.log"}
			r, err := b.client.Download(fleettest.Soon(t), b.remote+"/a.log", filepath.Join(b.local, "some"), &opt)
			fleettest.Contains(t, fleettest.AsError[*fleetssh.CopyError](t, err).Error(), "missing")
			fleettest.Equal(t, "files", r.Files, 2)
			fleettest.Equal(t, "got", got(filepath.Join(b.local, "some")), "a.log, b.log")

			// Upload: two sources, and two with the same name.
			opt = protocol.options
			opt.Recursive, opt.MoreSources = true, []string{b.local + "/some"}
			_, err = b.client.Upload(fleettest.Soon(t), b.local+"/a", b.remote+"/new", &opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "sent", got(b.remote+"/new"), "a/a.log, a/b.log, a/c d.log, some/a.log, some/b.log")
			opt.MoreSources = []string{b.local + "/b/a.log"}
			_, err = b.client.Upload(fleettest.Soon(t), b.local+"/a/a.log", b.remote+"/twice", &opt)
			fleettest.Contains(t, fleettest.AsError[*fleetssh.CopyError](t, err).Error(), "same name")
			nothingLeft(t, b.dir)
		})
	}
}
