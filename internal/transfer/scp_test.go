package transfer

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDirectoriesBySCP: with Preserve they get their permissions and times, though files get
// their names in them at last.
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
