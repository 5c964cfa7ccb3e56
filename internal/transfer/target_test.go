package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		dest, base string
		into       bool
		dir, top   string
	}{
		{"there", "f", false, "there", "f"},
		{"there/", "f", false, "there", "f"},
		{"new", "f", false, ".", "new"},
		{"new/", "f", false, "new", "f"},
		{"new", "f", true, "new", "f"},
		{"a/b/new", "f", false, "a/b", "new"},
		{"a/b/new/", "f", false, "a/b/new", "f"},
		{"there", "", false, "there", "."},
		{"new", "", false, "new", "."},
		{"there/file", "f", false, "there", "file"},
		{"there/..", "f", false, ".", "f"},
	} {
		t.Run(fmt.Sprint(test.dest, test.base, test.into), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "there/file"), "x")
			// Join would clean the path that is tested.
			to, err := newTarget(dir+"/"+test.dest, test.base, test.into)
			if err != nil {
				t.Fatal(err)
			}
			defer to.close()
			if filepath.Clean(to.dir) != filepath.Join(dir, test.dir) || to.top != test.top {
				t.Errorf("%q in %q", to.top, to.dir)
			}
		})
	}
	if _, err := newTarget("/dev/null/x", "f", false); !isFileError(err, "create /dev/null") {
		t.Errorf("%v", err)
	}
}

// TestLinksOutOfTheTree: nothing is written through a link that exists already, or that replaces a
// directory during the copy.
func TestLinksOutOfTheTree(t *testing.T) {
	t.Parallel()
	m, parent := newMachine(t), t.TempDir()
	dest, outside := filepath.Join(parent, "dest"), filepath.Join(parent, "outside")
	for _, name := range []string{"tree/dir/f", "tree/file", "tree/swapped/f", "tree/good"} {
		write(t, filepath.Join(m.dir, name), "from the host")
	}
	write(t, filepath.Join(outside, "f"), "ours")
	write(t, filepath.Join(outside, "kept"), "ours")
	os.MkdirAll(filepath.Join(dest, "tree"), 0o755)
	os.Symlink(outside, filepath.Join(dest, "tree/dir"))
	os.Symlink(filepath.Join(outside, "f"), filepath.Join(dest, "tree/file"))
	os.Symlink("../../outside", filepath.Join(dest, "tree/extra"))

	r, err := newJob(t, Options{Recursive: true, Preserve: true}).Download(soon(t), m.host(), []string{"tree"}, dest, nil)
	if !isFileError(err, "there is something else: a symbolic link") || r.Files != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	wantFile(t, filepath.Join(dest, "tree/good"), "from the host")
	wantFile(t, filepath.Join(dest, "tree/file"), "from the host")

	// A directory that becomes a link after it was opened.
	to, err := newTarget(dest, "tree", false)
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	e := &entry{name: "swapped/f", path: "tree/swapped/f", mode: 0o644}
	a, err := to.newPartialFile(e)
	if err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(dest, "tree/swapped"))
	os.Symlink(outside, filepath.Join(dest, "tree/swapped"))
	if err := a.create(); err == nil {
		t.Error("a file was made outside")
	}
	if err := to.link("/etc", "swapped/link"); err == nil {
		t.Error("a link was made outside")
	}
	rec := new(recorder)
	to.remove(rec, "swapped/f")
	to.remove(rec, "swapped")
	to.remove(rec, "extra")
	wantFile(t, filepath.Join(outside, "f"), "ours")
	wantFile(t, filepath.Join(outside, "kept"), "ours")
	if names, _ := os.ReadDir(outside); len(names) != 2 {
		t.Errorf("%v", names)
	}
	wantNoTemps(t, parent)
}

// TestDelete: extra files are removed from directories that were copied. Links are removed, not their
// targets. If a file failed, nothing is removed.
func TestDelete(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"upload", "download"} {
		for _, fails := range []bool{false, true} {
			t.Run(fmt.Sprint(way, fails), func(t *testing.T) {
				t.Parallel()
				m, here := newMachine(t), t.TempDir()
				from, to := filepath.Join(here, "tree"), filepath.Join(m.dir, "tree")
				if way == "download" {
					from, to = to, from
				}
				outside := filepath.Join(filepath.Dir(to), "outside")
				write(t, filepath.Join(outside, "deep/f"), "x")
				write(t, filepath.Join(from, "sub/f"), "x")
				write(t, filepath.Join(to, "sub/old/deep/f"), "x")
				write(t, filepath.Join(to, ".hidden"), "x")
				write(t, filepath.Join(filepath.Dir(to), "beside"), "x")
				os.Symlink("../outside", filepath.Join(to, "link"))
				if fails {
					write(t, filepath.Join(from, "clash"), "x")
					os.Mkdir(filepath.Join(to, "clash"), 0o755)
				}
				if way == "upload" { // a directory of the source is a link on the host
					os.Mkdir(filepath.Join(from, "linked"), 0o755)
					os.Symlink("../outside", filepath.Join(to, "linked"))
				}
				j := newJob(t, Options{Recursive: true, Delete: true})
				var r Result
				var err error
				if way == "upload" {
					r, err = j.Upload(soon(t), m.host(), []string{from}, ".", nil)
				} else {
					r, err = j.Download(soon(t), m.host(), []string{"tree"}, here, nil)
				}
				if fails != (err != nil) || fails && r.Deleted != 0 || !fails && r.Deleted != 5 {
					t.Errorf("%+v, %v", r, err)
				}
				_, err = os.Lstat(filepath.Join(to, "sub/old"))
				if fails != (err == nil) {
					t.Errorf("old: %v", err)
				}
				wantFile(t, filepath.Join(outside, "deep/f"), "x")
				wantFile(t, filepath.Join(filepath.Dir(to), "beside"), "x")
				wantFile(t, filepath.Join(to, "sub/f"), "x")
			})
		}
	}
}

func TestTemporaryNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 255)
	for _, base := range []string{"f", ".", "a b", "\n", "\xff", long} {
		one, two := tempName(base), tempName(base)
		if one == two || !isTempOf(one, base) || len(one) > 255 || !strings.HasPrefix(one, ".") {
			t.Errorf("%q, %q", one, two)
		}
	}
	for _, name := range []string{"f", ".f.fleetssh-", ".f.fleetssh-0123456", ".f.fleetssh-012345678", ".f.fleetssh-0123456x", ".g.fleetssh-01234567", "f.fleetssh-01234567"} {
		if isTempOf(name, "f") {
			t.Errorf("%q is taken for one", name)
		}
	}
	list := []fs.FileInfo{leftover{".f.fleetssh-00000001", 5, 0}, leftover{".f.fleetssh-00000002", 9, 0}, leftover{".f.fleetssh-00000003", 11, 0},
		leftover{".f.fleetssh-00000004", 10, fs.ModeSymlink}, leftover{".g.fleetssh-00000005", 10, 0}}
	if best := largestLeftover(list, "f", 10); best == nil || best.Name() != ".f.fleetssh-00000002" {
		t.Errorf("%v", best)
	}
	if best := largestLeftover(list, "f", 4); best != nil {
		t.Errorf("%v", best)
	}
}

type leftover struct {
	name string
	size int64
	mode fs.FileMode
}

func (l leftover) Name() string       { return l.name }
func (l leftover) Size() int64        { return l.size }
func (l leftover) Mode() fs.FileMode  { return l.mode }
func (l leftover) ModTime() time.Time { return time.Time{} }
func (l leftover) IsDir() bool        { return false }
func (l leftover) Sys() any           { return nil }

func TestBeginnings(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{1, 1 << 20, 100 << 20, 300 << 20, 1 << 40} {
		lengths := prefixSizes(size)
		if lengths[0] != size || len(lengths) > 10 {
			t.Errorf("%d: %v", size, lengths)
		}
		for i := 1; i < len(lengths); i++ {
			if lengths[i] >= lengths[i-1] || lengths[i] <= 0 {
				t.Errorf("%d: %v", size, lengths)
			}
		}
	}
	temp := &temp{}
	temp.start(10, 35, 10)
	for _, step := range []struct{ block, want int64 }{{3, 10}, {1, 20}, {2, 35}} {
		if temp.written(step.block); temp.prefixSize() != step.want {
			t.Errorf("after block %d: %d, want %d", step.block, temp.prefixSize(), step.want)
		}
	}
}

// TestChangedSource: a file that changes after it was listed is not copied.
func TestChangedSource(t *testing.T) {
	t.Parallel()
	local := write(t, filepath.Join(t.TempDir(), "f"), "one")
	j := newJob(t, Options{})
	listed, err := j.localTree(local)
	if err != nil {
		t.Fatal(err)
	}
	write(t, local, "longer")
	m := newMachine(t)
	r, err := j.Upload(soon(t), m.host(), []string{local}, "f", nil)
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(e, errChanged) || !e.Local || r.Failed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if names, _ := os.ReadDir(m.dir); len(names) != 0 {
		t.Errorf("%v", names)
	}
	f, err := j.blocks.open(t.Context(), &entry{path: local, size: 6, mtime: listed.entries[0].mtime})
	if err == nil { // a new listing finds another file
		f.release()
	}
	if info, _ := os.Stat(local); err == nil && !info.ModTime().Equal(listed.entries[0].mtime) {
		t.Error("it was opened as another")
	}
	if len(j.blocks.slots) != 0 || len(j.blocks.files) != 0 {
		t.Errorf("%d slots, %d files are left", len(j.blocks.slots), len(j.blocks.files))
	}
}
