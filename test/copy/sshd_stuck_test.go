//go:build unix

package copy

import (
	"context"
	"fmt"
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

// If a host is silent at any step, the copy ends after StallTimeout or soon after it is cancelled.
func TestSSHDCopySilent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		server  func(t testing.TB, hang string) sshdtest.Options
		options fleetssh.CopyOptions
	}{
		{"file server", func(t testing.TB, hang string) sshdtest.Options {
			return sshdtest.Options{FileServer: wrapper(t, hang)}
		}, fleetssh.CopyOptions{}},
		{"file server after its greeting", func(t testing.TB, hang string) sshdtest.Options {
			return sshdtest.Options{FileServer: wrapper(t, `printf '\0\0\0\5\2\0\0\0\3'; `+hang)}
		}, fleetssh.CopyOptions{}},
		{"shell, SCP", func(t testing.TB, hang string) sshdtest.Options {
			return sshdtest.Options{Config: []string{"ForceCommand " + hang}}
		}, fleetssh.CopyOptions{Protocol: fleetssh.SCP}},
		{"checksums", func(t testing.TB, hang string) sshdtest.Options {
			return sshdtest.Options{Config: []string{`ForceCommand case "$SSH_ORIGINAL_COMMAND" in *sha256sum*) ` + hang + `;; *) eval "$SSH_ORIGINAL_COMMAND";; esac`}}
		}, fleetssh.CopyOptions{Verify: true}},
		{"checksums, SCP", func(t testing.TB, hang string) sshdtest.Options {
			return sshdtest.Options{Config: []string{`ForceCommand case "$SSH_ORIGINAL_COMMAND" in *sha256sum*) ` + hang + `;; *) eval "$SSH_ORIGINAL_COMMAND";; esac`}}
		}, fleetssh.CopyOptions{Verify: true, Protocol: fleetssh.SCP}},
	} {
		for _, direction := range bothDirections {
			for _, end := range []string{"cancelled", "stalled"} {
				t.Run(fmt.Sprintf("%s, %s, %s", test.name, direction.name, end), func(t *testing.T) {
					t.Parallel()
					sshdtest.CheckLeaks(t)
					marker := sshdtest.Marker()
					t.Cleanup(func() { sshdtest.Kill(marker) }) // outlives the connection
					b := newCopyBox(t, test.server(t, "exec sleep "+marker))
					from, to := b.paths(direction, "file", "copy")
					writeFile(t, from, fleettest.Noise(1000))
					opt := test.options
					want := fleetssh.TimedOut
					var ctx context.Context = fleettest.Soon(t)
					if end == "stalled" {
						opt.StallTimeout = 500 * time.Millisecond
					} else {
						want = fleetssh.Cancelled
						cancelled, cancel := context.WithCancel(ctx)
						ctx = cancelled
						defer time.AfterFunc(500*time.Millisecond, cancel).Stop()
						defer cancel()
					}
					begun := time.Now()
					r, err := direction.copy(b.client, ctx, from, to, &opt)
					if took := time.Since(begun); took > fleettest.Promptly {
						t.Errorf("took %v", took)
					}
					if err == nil || r.Outcome.Kind != want {
						t.Errorf("%+v: %v", r.Outcome, err)
					}
					if _, err := os.Lstat(to); !os.IsNotExist(err) {
						t.Errorf("an incomplete copy has its final name: %v", err)
					}
				})
			}
		}
	}
}

// The client detects an scp process on the host that ends or stops.
func TestSSHDCopySCPTrouble(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		sig  syscall.Signal
		want fleetssh.OutcomeKind
	}{{"killed", syscall.SIGKILL, fleetssh.Exited}, {"stopped", syscall.SIGSTOP, fleetssh.TimedOut}} {
		for _, direction := range bothDirections {
			t.Run(test.name+", "+direction.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "file", "copy")
				writeFile(t, from, fleettest.Noise(8<<20))
				defer b.signal("scp", syscall.SIGKILL)
				var once sync.Once
				opt := &fleetssh.CopyOptions{Protocol: fleetssh.SCP, Rate: 1 << 20, StallTimeout: 5 * time.Second}
				opt.Progress = func(p fleetssh.CopyProgress) {
					if p.Done > 2<<20 {
						once.Do(func() { b.signal("scp", test.sig) })
					}
				}
				begun := time.Now()
				r, err := direction.copy(b.client, fleettest.Soon(t), from, to, opt)
				if took := time.Since(begun); took > fleettest.Promptly {
					t.Errorf("took %v", took)
				}
				fleettest.Equal(t, "outcome", r.Outcome.Kind, test.want)
				if err == nil {
					t.Error("no error")
				}
				if test.want == fleetssh.Exited {
					fleettest.Equal(t, "code", r.Outcome.ExitCode, 1)
					fleettest.AsError[*fleetssh.CopyError](t, err)
				}
				if _, err := os.Lstat(to); !os.IsNotExist(err) {
					t.Errorf("an incomplete copy has its final name: %v", err)
				}
				if test.want == fleetssh.Exited || direction.name == "download" {
					nothingLeft(t, b.dir)
				}
			})
		}
	}
}

// If one of several file servers is killed, the copy fails, and a later copy completes it.
func TestSSHDCopyOneOfManyServersKilled(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(direction, "tree", "copy")
			for i := range 600 {
				writeFile(t, filepath.Join(from, fmt.Sprint(i%10), fmt.Sprint(i)), fleettest.Noise(5000))
			}
			servers, seen := 0, 0
			opt := &fleetssh.CopyOptions{Recursive: true, Rate: 512 << 10}
			opt.Progress = func(fleetssh.CopyProgress) {
				if seen++; seen == 1 {
					pids := b.processes("sftp-server")
					if servers = len(pids); servers > 0 {
						syscall.Kill(pids[servers-1], syscall.SIGKILL)
					}
				}
			}
			r, err := direction.copy(b.client, fleettest.Soon(t), from, to, opt)
			if servers < 2 {
				t.Errorf("%d file servers", servers)
			}
			fleettest.AsError[*fleetssh.ConnectionError](t, err)
			fleettest.Contains(t, err.Error(), "file server")
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Lost})
			nothingLeft(t, b.dir)
			_, err = direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &fleetssh.CopyOptions{Recursive: true, Resume: true})
			fleettest.Equal(t, "error", err, nil)
			sameTree(t, from, to, 0)
		})
	}
}

// Closing the client ends its copies.
func TestSSHDCopyClosed(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, direction := range bothDirections {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "file", "copy")
				writeFile(t, from, fleettest.Noise(4<<20))
				opt := protocol.options
				opt.Rate = 1 << 20
				closed := make(chan error, 1)
				var once sync.Once
				opt.Progress = func(fleetssh.CopyProgress) {
					once.Do(func() { go func() { closed <- b.client.Close() }() })
				}
				r, err := direction.copy(b.client, fleettest.Soon(t), from, to, &opt)
				fleettest.AsError[*fleetssh.ConnectionError](t, err)
				fleettest.Equal(t, "outcome", r.Outcome.Kind, fleetssh.Lost)
				fleettest.Contains(t, err.Error(), "closed")
				fleettest.Equal(t, "close", <-closed, nil)
				if direction.name == "download" {
					nothingLeft(t, b.dir)
				}
				_, err = direction.copy(b.client, fleettest.Soon(t), from, to, nil)
				fleettest.AsError[*fleetssh.ConnectionError](t, err)
			})
		}
	}
}

// The number of open local files is bounded, and all are closed at the end.
func TestSSHDCopyOpenFiles(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(direction, "tree", "copy")
			for i := range 120 {
				writeFile(t, filepath.Join(from, fmt.Sprint(i)), fleettest.Noise(300<<10))
			}
			most := 0
			opt := &fleetssh.CopyOptions{Recursive: true, OpenFiles: 3}
			opt.Progress = func(fleetssh.CopyProgress) { most = max(most, openBelow(t, b.local)) }
			r, err := direction.copy(b.client, fleettest.Soon(t), from, to, opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "files", r.Files, 120)
			if most < 1 || most > 3+1 { // a directory is open while it is listed
				t.Errorf("%d files were open at once", most)
			}
			fleettest.Equal(t, "open at the end", openBelow(t, b.local), 0)
			sameTree(t, from, to, 0)
		})
	}
}

// openBelow returns how many files below a directory this process has open.
func openBelow(t testing.TB, dir string) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range list {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, dir+"/") && filepath.Base(name) != "copy" {
			n++
		}
	}
	return n
}
