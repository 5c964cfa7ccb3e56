package transfer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOneReadForManyHosts(t *testing.T) {
	t.Parallel()
	const hosts = 20
	content := pattern(5 << 20)
	local := write(t, filepath.Join(t.TempDir(), "f"), content)
	j := newJob(t, Options{Hosts: hosts})
	var most int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range hosts {
		m := newMachine(t)
		wg.Go(func() {
			r, err := j.Upload(soon(t), m.host(), []string{local}, "f", func(Progress) {
				j.blocks.mu.Lock()
				held := j.blocks.held
				j.blocks.mu.Unlock()
				mu.Lock()
				most = max(most, held)
				mu.Unlock()
			})
			if err != nil || r.Files != 1 || r.Bytes != int64(len(content)) {
				t.Errorf("%+v, %v", r, err)
			}
			wantFile(t, filepath.Join(m.dir, "f"), content)
			wantNoTemps(t, m.dir)
		})
	}
	wg.Wait()
	if reads := j.blocks.reads.Load(); reads != int64(len(content)) {
		t.Errorf("%d bytes were read for %d", reads, len(content))
	}
	if most == 0 || most > cacheBudget {
		t.Errorf("%d bytes were held", most)
	}
	j.Close()
	if j.blocks.held != 0 || len(j.blocks.files) != 0 || len(j.blocks.slots) != 0 {
		t.Errorf("%d bytes, %d files, %d slots are left", j.blocks.held, len(j.blocks.files), len(j.blocks.slots))
	}
}

// TestVerifyWithOneOpenFile: computing the checksum of a file that is being copied takes no second
// slot for open files.
func TestVerifyWithOneOpenFile(t *testing.T) {
	t.Parallel()
	for _, resume := range []bool{false, true} {
		t.Run(fmt.Sprint(resume), func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			for i := range 5 {
				write(t, filepath.Join(src, fmt.Sprint("f", i)), pattern(100_000+i))
			}
			j := newJob(t, Options{Files: 1, Hosts: 3, Recursive: true, Verify: true, Resume: resume})
			var wg sync.WaitGroup
			for range 3 {
				m := newMachine(t)
				if resume {
					write(t, filepath.Join(m.dir, "d/.f1.fleetssh-00000000"), pattern(90_000))
				}
				wg.Go(func() {
					r, err := j.Upload(soon(t), m.host(), []string{src}, "d", nil)
					if err != nil || r.Files != 5 {
						t.Errorf("%+v, %v", r, err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestContextOfAnotherHost: a host whose context ends while it opens a file, or computes its checksum,
// does not make other hosts fail.
func TestContextOfAnotherHost(t *testing.T) {
	t.Parallel()
	local := write(t, filepath.Join(t.TempDir(), "f"), "content")
	other := write(t, filepath.Join(t.TempDir(), "g"), "x")
	j := newJob(t, Options{Files: 1})
	first, _ := j.localTree(local)
	second, _ := j.localTree(other)
	for _, how := range []string{"open", "digest"} {
		busy, err := j.blocks.open(t.Context(), &second.entries[0])
		if err != nil {
			t.Fatal(err)
		}
		e := &first.entries[0]
		ask := func(ctx context.Context) error {
			if how == "digest" {
				_, err := j.localDigest(ctx, e, 7)
				return err
			}
			f, err := j.blocks.open(ctx, e)
			if err == nil {
				f.release()
			}
			return err
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := ask(short); err == nil {
				t.Errorf("%s: it was open already", how)
			}
		})
		asked := func() int {
			j.blocks.mu.Lock()
			defer j.blocks.mu.Unlock()
			return len(j.blocks.files)
		}
		for asked() < 2 && short.Err() == nil {
			<-time.After(time.Millisecond)
		}
		for range 10 {
			wg.Go(func() {
				if err := ask(soon(t)); err != nil {
					t.Errorf("%s: %v", how, err)
				}
			})
		}
		<-short.Done()
		busy.release()
		wg.Wait()
	}
}

// TestResumeOverGarbage: only the beginning of the partial file matches, and the source has zeros
// where the partial file has other bytes.
func TestResumeOverGarbage(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	content := pattern(2*mib) + strings.Repeat("\x00", 2*mib) + pattern(mib)
	garbage := content[:2*mib] + pattern(2*mib)
	t.Run("download", func(t *testing.T) {
		t.Parallel()
		m, dir := newMachine(t), t.TempDir()
		write(t, filepath.Join(m.dir, "f"), content)
		write(t, filepath.Join(dir, ".f.fleetssh-0123abcd"), garbage)
		r, err := newJob(t, Options{Resume: true}).Download(soon(t), m.host(), []string{"f"}, dir, nil)
		if err != nil || r.Bytes >= int64(len(content)) {
			t.Errorf("%+v, %v", r, err)
		}
		wantFile(t, filepath.Join(dir, "f"), content)
		wantNoTemps(t, dir)
	})
	t.Run("upload", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		local := filepath.Join(t.TempDir(), "f")
		file, err := os.Create(local)
		if err != nil {
			t.Fatal(err)
		}
		file.WriteString(content[:2*mib])
		file.WriteAt([]byte(content[4*mib:]), 4*mib)
		file.Close()
		write(t, filepath.Join(m.dir, ".f.fleetssh-0123abcd"), garbage)
		r, err := newJob(t, Options{Resume: true}).Upload(soon(t), m.host(), []string{local}, ".", nil)
		if err != nil || r.Bytes >= int64(len(content)) {
			t.Errorf("%+v, %v", r, err)
		}
		wantFile(t, filepath.Join(m.dir, "f"), content)
		wantNoTemps(t, m.dir)
	})
}

// TestCutAndResume: the connection ends in the middle, and a later copy resumes.
func TestCutAndResume(t *testing.T) {
	t.Parallel()
	content := pattern(40 << 20)
	m := newMachine(t)
	m.cut = 34 << 20
	local := write(t, filepath.Join(t.TempDir(), "f"), content)
	r, err := newJob(t, Options{}).Upload(soon(t), m.host(), []string{local}, "x/", nil)
	if err != ErrLost || r.Files != 0 || r.Bytes == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "x/f")); err == nil {
		t.Error("it stands under its name")
	}
	m.cut = 0
	m.broken.Store(false)
	r, err = newJob(t, Options{Resume: true}).Upload(soon(t), m.host(), []string{local}, "x/", nil)
	if err != nil || r.Bytes >= int64(len(content)) {
		t.Errorf("%+v, %v", r, err)
	}
	wantFile(t, filepath.Join(m.dir, "x/f"), content)
	wantNoTemps(t, m.dir)
}

// TestCancelKeepsTheBeginning: the partial file that is kept is no longer than the file, and the next
// copy resumes it.
func TestCancelKeepsTheBeginning(t *testing.T) {
	t.Parallel()
	content := pattern(6<<20 + 77)
	for _, at := range []int64{5 << 20, int64(len(content))} {
		for _, way := range []string{"upload", "download"} {
			t.Run(fmt.Sprint(way, at), func(t *testing.T) {
				t.Parallel()
				m, dir := newMachine(t), t.TempDir()
				from, to := dir, m.dir
				if way == "download" {
					from, to = m.dir, dir
				}
				local := write(t, filepath.Join(from, "f"), content)
				copyWith := func(ctx context.Context, opt Options, report func(Progress)) (Result, error) {
					j := newJob(t, opt)
					if way == "download" {
						return j.Download(ctx, m.host(), []string{"f"}, dir, report)
					}
					return j.Upload(ctx, m.host(), []string{local}, ".", report)
				}
				ctx, cancel := context.WithCancel(soon(t))
				defer cancel()
				if at == int64(len(content)) { // in the middle of the comparison
					m.onExec(cancel)
				}
				_, err := copyWith(ctx, Options{Verify: true, Rate: 5 << 20}, func(p Progress) {
					if p.Done >= at && !p.Ended && at < int64(len(content)) {
						cancel()
					}
				})
				if err != context.Canceled {
					t.Fatal(err)
				}
				left := tempsIn(to)
				if len(left) != 1 {
					t.Fatalf("%q is left", left)
				}
				if info, err := os.Stat(left[0]); err != nil || info.Size() < 1<<20 || info.Size() > int64(len(content)) {
					t.Errorf("%d bytes are left, %v", info.Size(), err)
				}
				m.onExec(nil)
				r, err := copyWith(soon(t), Options{Resume: true}, nil)
				if err != nil || r.Files != 1 || r.Bytes > int64(len(content))-1<<20 {
					t.Errorf("%+v, %v", r, err)
				}
				wantFile(t, filepath.Join(to, "f"), content)
				wantNoTemps(t, to)
			})
		}
	}
}
