package transfer

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestPrivateOnItsWay: only its owner can read a private file, also while it has its temporary name,
// in both directions.
func TestPrivateOnItsWay(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	local, dest := t.TempDir(), t.TempDir()
	name := write(t, filepath.Join(local, "secret"), strings.Repeat("x", 1<<20))
	if err := os.Chmod(name, 0o400); err != nil {
		t.Fatal(err)
	}
	// look counts the temporary files it sees, and fails if others may read one.
	capture := func(dir string, seen *atomic.Int32) func(Progress) {
		return func(p Progress) {
			for _, temp := range tempsIn(dir) {
				info, err := os.Stat(temp)
				if err != nil {
					continue // it has just been renamed
				}
				seen.Add(1)
				if info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s: %v", temp, info.Mode())
				}
			}
		}
	}
	j := newJob(t, Options{Rate: 2 << 20})
	for _, way := range []struct {
		dir  string
		copy func(report func(Progress)) (Result, error)
	}{
		{m.dir, func(report func(Progress)) (Result, error) {
			return j.Upload(soon(t), m.host(), []string{name}, "secret", report)
		}},
		{dest, func(report func(Progress)) (Result, error) {
			return j.Download(soon(t), m.host(), []string{"secret"}, dest, report)
		}},
	} {
		var seen atomic.Int32
		if r, err := way.copy(capture(way.dir, &seen)); err != nil || r.Files != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if seen.Load() == 0 {
			t.Error("the temporary file was never seen")
		}
		if info, err := os.Stat(filepath.Join(way.dir, "secret")); err != nil || info.Mode().Perm() != 0o400 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}
