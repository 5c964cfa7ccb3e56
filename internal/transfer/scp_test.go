package transfer

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDirectoriesBySCP: with Preserve, directories get their permissions and times although files are
// renamed in them at the end.
func TestDirectoriesBySCP(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "tree")
	write(t, filepath.Join(src, "read/only/f"), "x")
	write(t, filepath.Join(src, "-dash/f"), "x")
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	modes := map[string]os.FileMode{"read/only": 0o555, "read": 0o750, "-dash": 0o777 | os.ModeSticky, ".": 0o711}
	for _, name := range []string{"read/only", "read", "-dash", "."} {
		os.Chmod(filepath.Join(src, name), modes[name])
		os.Chtimes(filepath.Join(src, name), when, when)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(src, "read/only"), 0o755) })
	for _, source := range []string{src, src + "/."} {
		m := newMachine(t)
		r, err := newJob(t, Options{SCP: true, Recursive: true, Preserve: true}).Upload(soon(t), m.host(), []string{source}, "tree", nil)
		if err != nil || r.Files != 2 {
			t.Errorf("%+v, %v", r, err)
		}
		for name, mode := range modes {
			info, err := os.Stat(filepath.Join(m.dir, "tree", name))
			if err != nil || info.Mode()&^os.ModeDir != mode || !info.ModTime().Equal(when) {
				t.Errorf("%s: %v %v, %v", name, info.Mode(), info.ModTime(), err)
			}
		}
		os.Chmod(filepath.Join(m.dir, "tree/read/only"), 0o755)
		wantFile(t, filepath.Join(m.dir, "tree/read/only/f"), "x")
		wantNoTemps(t, m.dir)
	}
}

// FuzzSCP lets a host send anything. Nothing is written outside the destination, and nothing hangs.
func FuzzSCP(f *testing.F) {
	for _, said := range []string{
		"D0755 0 tree\nC0644 1 f\nx\x00E\n", "E\n", "D0755 0 tree\nE\nE\n", "D0755 0 ..\nC0644 1 f\nx\x00E\n", "C0644 1 ../f\nx\x00", "\x01no\n", "\x02no\n",
		"D0755 0 tree\nD0000 0 .\nE\nC0644 1 tree\nx\x00E\n", "T1 0 1 0\nD0755 0 tree\nC0644 0 f\n\x00C0644 0 f\n\x00D0755 0 f\nC0644 0 g\n\x00E\nE\n",
	} {
		f.Add([]byte(said), true)
		f.Add([]byte(said), false)
	}
	f.Fuzz(func(t *testing.T, said []byte, glob bool) {
		ctx := soon(t)
		parent := t.TempDir()
		j := New(Options{SCP: true, Recursive: true, Preserve: true, Glob: glob, Stall: 20 * time.Millisecond})
		defer j.Close()
		source := "tree"
		if glob {
			source = "*"
		}
		r, err := j.Download(ctx, hostile(t, string(said)), []string{source}, filepath.Join(parent, "in"), nil)
		if ctx.Err() != nil || err == nil {
			t.Errorf("it hung, or was taken for whole: %+v, %v", r, err)
		}
		if names, _ := os.ReadDir(parent); len(names) > 1 {
			t.Errorf("%v", names)
		}
		wantNoTemps(t, parent)
	})
}

// FuzzChecksums lets a host answer anything when it is asked for checksums. Only checksums are taken
// for checksums.
func FuzzChecksums(f *testing.F) {
	f.Add([]byte(strings.Repeat("0", 64) + "\n" + strings.Repeat("f", 64) + "  -\n"))
	f.Add([]byte("\\" + strings.Repeat("g", 64) + "\nfailed\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		host := &Host{Exec: func(context.Context, string) (Stream, error) {
			return &finished{endsOnly: endsOnly{closed: make(chan struct{})}, out: strings.NewReader(string(said))}, nil
		}}
		h := &hasher{host: host, stall: time.Second}
		some := []*remoteDigest{{hashed: hashed{path: "a"}}, {hashed: hashed{path: "b"}}}
		err := h.run(t.Context(), some)
		for i, d := range some {
			if d.ok && (err != nil || !strings.Contains(strings.ToLower(string(said)), hex.EncodeToString(d.sum[:]))) {
				t.Errorf("file %d: %x, %v", i, d.sum, err)
			}
		}
	})
}

// finished is a program that has written something and exited with 0.
type finished struct {
	endsOnly
	out *strings.Reader
}

func (f *finished) Read(p []byte) (int, error) { return f.out.Read(p) }
func (f *finished) Wait() error                { return nil }
