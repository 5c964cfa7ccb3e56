//go:build unix

package copy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// An interrupted copy leaves a partial file, and a later copy continues it.
func TestSSHDCopyResume(t *testing.T) {
	t.Parallel()
	const size, breaksAt = 12 << 20, 5 << 20
	for _, broken := range []struct {
		name    string
		options fleetssh.CopyOptions
		by      func(b *copyBox, cancel func())
		outcome fleetssh.Outcome
	}{
		{"connection cut", fleetssh.CopyOptions{}, func(b *copyBox, _ func()) { b.server.KillConnections() }, fleetssh.Outcome{Kind: fleetssh.Lost}},
		{"cancelled", fleetssh.CopyOptions{}, func(_ *copyBox, cancel func()) { cancel() }, fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true}},
		{"server killed", fleetssh.CopyOptions{}, func(b *copyBox, _ func()) { b.signalServers(syscall.SIGKILL) }, fleetssh.Outcome{Kind: fleetssh.Lost}},
		{"timed out", fleetssh.CopyOptions{Timeout: fleettest.Lapse, Rate: 1 << 20}, func(*copyBox, func()) {}, fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true}},
	} {
		for _, direction := range bothDirections {
			t.Run(broken.name+", "+direction.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "a file", "its copy")
				data := fleettest.Noise(size)
				writeFile(t, from, data)
				ctx, cancel := context.WithCancel(fleettest.Soon(t))
				defer cancel()
				opt := broken.options
				if opt.Rate == 0 {
					opt.Rate = 2 << 20 // slow enough to be interrupted on a busy machine
				}
				var once sync.Once
				opt.Progress = func(p fleetssh.CopyProgress) {
					if p.Done > breaksAt {
						once.Do(func() { broken.by(b, cancel) })
					}
				}
				r, err := direction.copy(b.client, ctx, from, to, &opt)
				fleettest.Equal(t, "outcome", r.Outcome, broken.outcome)
				fleettest.Equal(t, "error", err, r.Err)
				if err == nil {
					t.Fatal("no error")
				}
				if _, err := os.Lstat(to); !os.IsNotExist(err) {
					t.Errorf("an incomplete copy has its final name: %v", err)
				}
				left := partialFiles(t, filepath.Dir(to))
				if len(left) != 1 {
					t.Fatalf("partial files: %q, want one", left)
				}
				if info, err := os.Stat(left[0]); err != nil || info.Size() < 1<<20 {
					t.Errorf("partial file %v, %v", info, err)
				}

				c := b.client
				if broken.name == "connection cut" {
					c = fleettest.Dial(t, b.host)
				}
				r, err = direction.copy(c, fleettest.Soon(t), from, to, &fleetssh.CopyOptions{Resume: true})
				if err != nil {
					t.Fatal(err)
				}
				fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited})
				if r.Bytes > size-1<<20 {
					t.Errorf("%d bytes were copied again", r.Bytes)
				}
				sameContent(t, to, data)
				nothingLeft(t, b.dir)

				// A complete file is skipped.
				r, err = direction.copy(c, fleettest.Soon(t), from, to, &fleetssh.CopyOptions{Resume: true})
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, "skipped", r.Skipped, 1)
				fleettest.Equal(t, "bytes", r.Bytes, 0)
			})
		}
	}
}

// Small partial files are not kept.
func TestSSHDCopyBrokenSmall(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		for _, protocol := range bothProtocols {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
				from, to := b.paths(direction, "tree", "copy")
				for _, name := range strings.Fields("a b c d e f g h") {
					writeFile(t, filepath.Join(from, name), fleettest.Noise(512<<10))
				}
				ctx, cancel := context.WithCancel(fleettest.Soon(t))
				defer cancel()
				opt := protocol.options
				opt.Recursive, opt.Rate = true, 2<<20
				var sum int64
				opt.Progress = func(p fleetssh.CopyProgress) {
					if sum += p.Done; sum > 256<<10 {
						cancel()
					}
				}
				begun := time.Now()
				r, _ := direction.copy(b.client, ctx, from, to, &opt)
				fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
				if took := time.Since(begun); took > fleettest.Promptly {
					t.Errorf("took %v", took)
				}
				nothingLeft(t, b.dir)
				opt.Progress, opt.Rate = nil, 0
				r, err := direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &opt)
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, "files", r.Files, 8)
				sameTree(t, from, to, 0)
			})
		}
	}
}

// Where the source has a hole, a resumed copy has zeros, even if the partial file had data there.
func TestSSHDCopyResumeHole(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(direction, "file", "file")
			begin := fleettest.Noise(2 << 20)
			writeFile(t, from, begin)
			if err := os.Truncate(from, 6<<20); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(filepath.Dir(to), ".file.fleetssh-0123abcd"), append(begin, fleettest.Noise(1<<20)...))
			r, err := direction.copy(b.client, fleettest.Soon(t), from, to, &fleetssh.CopyOptions{Resume: true})
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "files", r.Files, 1)
			sameContent(t, to, append(begin, make([]byte, 4<<20)...))
			nothingLeft(t, b.dir)
		})
	}
}

// A partial file with other content, or too small to be continued, does not affect the copy.
func TestSSHDCopyResumeOther(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(direction, "file", "file")
			data := fleettest.Noise(3 << 20)
			writeFile(t, from, data)
			other := fleettest.Noise(2 << 20)
			other[17] ^= 1
			for _, left := range [][]byte{other, data[:1000], nil} {
				os.Remove(to)
				writeFile(t, filepath.Join(filepath.Dir(to), ".file.fleetssh-0123abcd"), left)
				r, err := direction.copy(b.client, fleettest.Soon(t), from, to, &fleetssh.CopyOptions{Resume: true})
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, "bytes", r.Bytes, int64(len(data)))
				sameContent(t, to, data)
				if left == nil {
					os.Remove(filepath.Join(filepath.Dir(to), ".file.fleetssh-0123abcd")) // the client ignores empty partial files
				}
			}
			nothingLeft(t, b.dir)
		})
	}
}

// A copy from or to a stopped file server ends after StallTimeout.
func TestSSHDCopyStalled(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(direction, "file", "copy")
			writeFile(t, from, fleettest.Noise(8<<20))
			opt := fleetssh.CopyOptions{Rate: 2 << 20, StallTimeout: 5 * time.Second}
			var once sync.Once
			opt.Progress = func(p fleetssh.CopyProgress) {
				if p.Done > 2<<20 {
					once.Do(func() { b.signalServers(syscall.SIGSTOP) })
				}
			}
			defer b.signalServers(syscall.SIGKILL)
			r, err := direction.copy(b.client, fleettest.Soon(t), from, to, &opt)
			e := fleettest.AsError[*fleetssh.TimeoutError](t, err)
			fleettest.Equal(t, "phase", e.Phase, "copy")
			fleettest.Equal(t, "After", e.After, 5*time.Second)
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.TimedOut})
			b.signalServers(syscall.SIGKILL)
			r, err = direction.copy(fleettest.Dial(t, b.host), fleettest.Soon(t), from, to, &fleetssh.CopyOptions{Resume: true})
			fleettest.Equal(t, "error", err, nil)
			sameContent(t, to, fleettest.Noise(8<<20))
			nothingLeft(t, b.dir)
		})
	}
}

// Cancelling one of two copies on a connection does not disturb the other.
func TestSSHDCopyTwoAtOnce(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	b := newCopyBox(t, sshdtest.Options{})
	data := fleettest.Noise(6 << 20)
	writeFile(t, filepath.Join(b.local, "file"), data)
	ctx, cancel := context.WithCancel(fleettest.Soon(t))
	defer cancel()
	ended := make(chan fleetssh.CopyResult)
	started := make(chan struct{})
	var once sync.Once
	go func() {
		r, _ := b.client.Upload(ctx, filepath.Join(b.local, "file"), filepath.Join(b.remote, "one"), &fleetssh.CopyOptions{
			Rate: 32 << 10, Progress: func(fleetssh.CopyProgress) { once.Do(func() { close(started) }) },
		})
		ended <- r
	}()
	<-started
	for _, name := range []string{"two", "three"} {
		r, err := b.client.Upload(fleettest.Soon(t), filepath.Join(b.local, "file"), filepath.Join(b.remote, name), nil)
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "bytes", r.Bytes, int64(len(data)))
		sameContent(t, filepath.Join(b.remote, name), data)
	}
	cancel()
	r := <-ended
	fleettest.Equal(t, "outcome", r.Outcome.Kind, fleetssh.Cancelled)
	fleettest.Equal(t, "output", fleettest.Output(t, b.client, "echo here"), "here\n")
}
