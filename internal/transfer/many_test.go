package transfer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestRate: all hosts together reach the rate, and do not exceed it.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rate, hosts, blocks, size = 1 << 20, 10, 10, 64 << 10
		j := New(Options{Rate: rate, Hosts: hosts})
		defer j.Close()
		begun := time.Now()
		var wg sync.WaitGroup
		for range hosts {
			wg.Go(func() {
				for range blocks {
					if err := j.throttle(t.Context(), size); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		want := time.Second * hosts * blocks * size / rate
		if took := time.Since(begun); took > want || took < want-time.Second {
			t.Errorf("took %v, want %v", took, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		if err := j.throttle(ctx, 100<<20); err != context.DeadlineExceeded || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// TestEveryFileEndsOnce: however a copy of many files ends, every file that was begun is reported as
// ended exactly once, and the counts are right.
func TestEveryFileEndsOnce(t *testing.T) {
	t.Parallel()
	const files = 300
	src := filepath.Join(t.TempDir(), "tree")
	for i := range files {
		write(t, filepath.Join(src, fmt.Sprint(i%7), fmt.Sprint("f", i)), pattern(i))
	}
	os.Symlink("f0", filepath.Join(src, "link"))
	for name, test := range map[string]struct {
		opt    Options
		after  int // cancel the copy when so many files have ended; 0: never
		cut    int // end the connection after so many bytes; 0: never
		denied bool
	}{
		"whole":          {},
		"verified":       {opt: Options{Verify: true, Preserve: true}},
		"one open file":  {opt: Options{Files: 1}},
		"cancelled":      {after: 20, opt: Options{Files: 8, Verify: true}},
		"cut":            {cut: 15_000},
		"denied":         {denied: true},
		"SCP":            {opt: Options{SCP: true, Verify: true}},
		"SCP, cancelled": {opt: Options{SCP: true, Rate: 2_000}, after: -1},
		"SCP, denied":    {opt: Options{SCP: true}, denied: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.cut = test.cut
			if test.denied { // directories have the names of files
				os.MkdirAll(filepath.Join(m.dir, "tree/0/f0/x"), 0o755)
				write(t, filepath.Join(m.dir, "tree/1"), "a file")
			}
			ctx, cancel := context.WithCancel(soon(t))
			defer cancel()
			if test.after < 0 {
				time.AfterFunc(500*time.Millisecond, cancel)
			}
			var mu sync.Mutex
			ended := make(map[string]int)
			test.opt.Recursive = true
			r, err := newJob(t, test.opt).Upload(ctx, m.host(), []string{src}, ".", func(p Progress) {
				mu.Lock()
				defer mu.Unlock()
				if p.Ended {
					ended[p.Path]++
				}
				if ended[p.Path] > 1 || ended[p.Path] > 0 && !p.Ended {
					t.Errorf("told after the end: %+v", p)
				}
				if test.after > 0 && len(ended) == test.after {
					cancel()
				}
			})
			if len(ended) != r.Files+r.Failed+r.Skipped {
				t.Errorf("%d ended, %+v", len(ended), r)
			}
			broken := test.after != 0 || test.cut != 0
			if whole := !broken && !test.denied; whole != (err == nil) || whole && r.Files != files+1 || test.denied && (r.Failed < 40 || r.Files < 200) {
				t.Errorf("%+v, %v", r, err)
			}
			published := 0
			filepath.WalkDir(filepath.Join(m.dir, "tree"), func(name string, e os.DirEntry, _ error) error {
				if e != nil && e.Type().IsRegular() && len(filepath.Base(name)) > 1 && filepath.Base(name)[0] == 'f' {
					published++
					var i int
					fmt.Sscanf(filepath.Base(name), "f%d", &i)
					wantFile(t, name, pattern(i))
				}
				return nil
			})
			if err == nil && published != files || published < r.Files-1 {
				t.Errorf("%d have their names, %+v", published, r)
			}
			if test.cut == 0 { // without a connection, nothing can be removed
				wantNoTemps(t, m.dir)
			}
		})
	}
}

// BenchmarkManyHosts measures the memory of an upload to many hosts.
func BenchmarkManyHosts(b *testing.B) {
	const hosts = 50
	content := pattern(8 << 20)
	local := write(b, filepath.Join(b.TempDir(), "f"), content)
	machines := make([]*machine, hosts)
	for i := range machines {
		machines[i] = newMachine(b)
	}
	b.SetBytes(int64(hosts * len(content)))
	b.ReportAllocs()
	for b.Loop() {
		j := New(Options{Hosts: hosts})
		var wg sync.WaitGroup
		for _, m := range machines {
			wg.Go(func() {
				if _, err := j.Upload(b.Context(), m.host(), []string{local}, "f", nil); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(j.blocks.reads.Load()), "read-B/op")
		j.Close()
	}
}
