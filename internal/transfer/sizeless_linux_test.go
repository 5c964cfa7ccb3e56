package transfer

import (
	"context"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSizeless: files of the kernel are copied completely, though their size is 0 or a page.
func TestSizeless(t *testing.T) {
	t.Parallel()
	version, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	mtu, err := os.ReadFile("/sys/class/net/lo/mtu")
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []Options{{}, {Verify: true, Preserve: true}, {Resume: true}, {SCP: true}} {
		for name, want := range map[string][]byte{"/proc/version": version, "/sys/class/net/lo/mtu": mtu} {
			m := newMachine(t)
			j := newJob(t, opt)
			if r, err := j.Upload(soon(t), m.host(), []string{name}, "up", nil); err != nil || r.Files != 1 {
				t.Errorf("%+v: put %s: %+v, %v", opt, name, r, err)
			}
			wantFile(t, filepath.Join(m.dir, "up"), string(want))
			dir := t.TempDir()
			if opt.SCP {
				// SCP sends the size first, so such files are refused.
				_, err := j.Download(soon(t), m.host(), []string{name}, dir, nil)
				if left, _ := os.ReadDir(dir); err == nil || len(left) > 0 {
					t.Errorf("get %s by SCP: %v, %v is here", name, err, left)
				}
				empty := write(t, filepath.Join(m.dir, "empty"), "")
				if r, err := j.Download(soon(t), m.host(), []string{empty}, dir, nil); err != nil || r.Files != 1 {
					t.Errorf("get an empty file by SCP: %+v, %v", r, err)
				}
				wantFile(t, filepath.Join(dir, "empty"), "")
				continue
			}
			if r, err := j.Download(soon(t), m.host(), []string{name}, dir, nil); err != nil || r.Files != 1 {
				t.Errorf("%+v: get %s: %+v, %v", opt, name, r, err)
			}
			wantFile(t, filepath.Join(dir, filepath.Base(name)), string(want))
			if left := tempsIn(dir); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		}
	}
}

// TestSizelessEnds: a file of the kernel that does not end is refused before any host is contacted,
// and so is one that exceeds the memory for such files.
func TestSizelessEnds(t *testing.T) {
	t.Parallel()
	var s snapshots
	name := write(t, filepath.Join(t.TempDir(), "f"), "content")
	for _, test := range []struct {
		held int
		size int64
		want string
		fail bool
	}{
		{0, 7, "", false}, // the size is right: no snapshot
		{0, 4096, "content", false},
		{0, 0, "content", false},
		{maxSnapshots - 3, 0, "", true},
	} {
		s.held = test.held
		data, err := s.read(name, test.size)
		if string(data) != test.want || (err != nil) != test.fail {
			t.Errorf("%+v: %q, %v", test, data, err)
		}
	}
}

// TestShrunkFile: a file that is truncated during the copy is not mistaken for a file of the kernel:
// the copy fails.
func TestShrunkFile(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	name := write(t, filepath.Join(m.dir, "f"), strings.Repeat("x", 1<<20))
	j := newJob(t, Options{Rate: 1 << 20})
	dir := t.TempDir()
	shrunk := false
	_, err := j.Download(soon(t), m.host(), []string{"f"}, dir, func(p Progress) {
		if !shrunk {
			shrunk = true
			if err := os.Truncate(name, 1000); err != nil {
				t.Error(err)
			}
		}
	})
	if err == nil || !strings.Contains(err.Error(), errShort.Error()) {
		t.Errorf("%v", err)
	}
}

// TestTimesOutOfRange: a time that SFTP cannot express becomes the nearest one that it can, and counts
// as the same time in the next copy.
func TestTimesOutOfRange(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	for name, at := range map[string]time.Time{
		"old": time.Date(1965, 1, 1, 0, 0, 0, 0, time.UTC), "far": time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), "now": time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if err := os.Chtimes(write(t, filepath.Join(src, name), "x"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(src, old, old); err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	for again := range 2 {
		j := newJob(t, Options{Preserve: true, Recursive: true})
		r, err := j.Upload(soon(t), m.host(), []string{src}, "d/", nil)
		if want := 3 * (1 - again); err != nil || r.Files != want || r.Skipped != 3-want {
			t.Errorf("%+v, %v", r, err)
		}
		if n, first := j.Unsuited([]string{src}); n != 3 || first != src {
			t.Errorf("%d, %q", n, first)
		}
	}
	top := filepath.Join(m.dir, "d", filepath.Base(src))
	for name, want := range map[string]int64{"": 0, "old": 0, "far": math.MaxUint32, "now": 1577836800} {
		if info, err := os.Stat(filepath.Join(top, name)); err != nil || info.ModTime().Unix() != want {
			t.Errorf("%q: %v, %v", name, info.ModTime(), err)
		}
	}
}

// TestResumedPermissions: the umask is learned from a new file, also if the first file of the copy is
// resumed.
func TestResumedPermissions(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	for range 5 {
		src := t.TempDir()
		for _, name := range []string{"a", "b"} {
			if err := os.Chmod(write(t, filepath.Join(src, name), strings.Repeat(name, size)), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		m := newMachine(t)
		left := write(t, filepath.Join(m.dir, "d/.a.fleetssh-00000000"), strings.Repeat("a", 2<<20))
		if err := os.Chmod(left, 0o600); err != nil { // it was private
			t.Fatal(err)
		}
		j := newJob(t, Options{Recursive: true, Resume: true})
		if r, err := j.Upload(soon(t), m.host(), []string{src + "/."}, "d", nil); err != nil || r.Files != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		created, err := os.Stat(write(t, filepath.Join(m.dir, "new"), "")) // 0644 and the umask
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			info, err := os.Stat(filepath.Join(m.dir, "d", name))
			if err != nil || info.Mode().Perm()&^0o022 != created.Mode().Perm()&^0o022 || info.Mode().Perm()&0o077 == 0 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
		if left := tempsIn(filepath.Join(m.dir, "d")); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}

// TestResumedDownload: a resumed file gets the permissions of a new one.
func TestResumedDownload(t *testing.T) {
	t.Parallel()
	for mode, leftover := range map[fs.FileMode]fs.FileMode{0o600: 0o644, 0o640: 0o600} {
		m := newMachine(t)
		name := write(t, filepath.Join(m.dir, "f"), strings.Repeat("a", 3<<20))
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		left := write(t, filepath.Join(dir, ".f.fleetssh-00000000"), strings.Repeat("a", 2<<20))
		if err := os.Chmod(left, leftover); err != nil {
			t.Fatal(err)
		}
		j := newJob(t, Options{Resume: true})
		if r, err := j.Download(soon(t), m.host(), []string{"f"}, dir+"/", nil); err != nil || r.Bytes > 2<<20 {
			t.Errorf("%+v, %v", r, err)
		}
		if info, err := os.Stat(filepath.Join(dir, "f")); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%v, want %v: %v", info.Mode(), mode, err)
		}
		if left := tempsIn(dir); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
}

// TestNotSFTP: output that comes instead of SFTP is shown, sanitized and clipped.
func TestNotSFTP(t *testing.T) {
	t.Parallel()
	// says returns a host whose server writes something and ends, or runs on if why is nil.
	says := func(text string, exit error) *Host {
		open := func() (Stream, error) {
			near, far := net.Pipe()
			w := &wire{Conn: near, ended: make(chan struct{}), err: exit}
			go io.Copy(io.Discard, far)
			go func() {
				io.WriteString(far, text)
				if exit != nil {
					close(w.ended)
					far.Close()
				}
			}()
			t.Cleanup(func() {
				near.Close()
				far.Close()
				if exit == nil {
					close(w.ended)
				}
			})
			return w, nil
		}
		return &Host{
			Broken: func() bool { return false },
			SFTP:   func(context.Context) (Stream, error) { return open() },
			Exec:   func(context.Context, string) (Stream, error) { return open() },
		}
	}
	for _, test := range []struct {
		text string
		exit error
		want string
	}{
		{"This account is currently not available.\n", errTooMuchOutput, `the host does not speak SFTP: it says "This account is currently not available." (` + errTooMuchOutput.Error() + ")"},
		{"\x1b[2JWelcome\x07 to us\r\n", errTooMuchOutput, `it says "\x1b[2JWelcome\a to us"`},
		{strings.Repeat("y", 5000), errTooMuchOutput, `it says "` + strings.Repeat("y", maxOutput) + `"`},
	} {
		j := newJob(t, Options{})
		_, err := j.Upload(soon(t), says(test.text, test.exit), []string{write(t, filepath.Join(t.TempDir(), "f"), "x")}, "f", nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v", test.text, err)
		}
		j = newJob(t, Options{SCP: true})
		_, err = j.Upload(soon(t), says(test.text, test.exit), []string{write(t, filepath.Join(t.TempDir(), "f"), "x")}, "f", nil)
		output := test.want[strings.Index(test.want, "says "):]
		if output, _, _ = strings.Cut(output, " ("); err == nil || !strings.Contains(err.Error(), output) {
			t.Errorf("SCP: %q: %v", test.text, err)
		}
	}
}

// TestUnwritableFolder: if no file can be created, the error names the folder, and explains why a
// writable file does not help.
func TestUnwritableFolder(t *testing.T) {
	t.Parallel()
	for _, there := range []fs.FileInfo{nil, info(t)} {
		err := fileError("create", "/etc/app.conf", false, explainPermission(fs.ErrPermission, "/etc", there))
		want := "create /etc/app.conf: permission denied: the folder /etc is not writable"
		if there != nil {
			want += ", and a file is replaced, not written in place"
		}
		if err.Error() != want {
			t.Errorf("%v", err)
		}
	}
	if err := explainPermission(fs.ErrExist, "/etc", nil); err != fs.ErrExist {
		t.Errorf("%v", err)
	}
}

func info(t testing.TB) fs.FileInfo {
	info, err := os.Stat(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return info
}
