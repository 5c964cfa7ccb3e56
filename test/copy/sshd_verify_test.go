//go:build unix

package copy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// Checksums are compared on hosts with a checksum program, and through the file server on hosts
// without one.
func TestSSHDCopyVerify(t *testing.T) {
	t.Parallel()
	for _, host := range []struct {
		name    string
		options sshdtest.Options
	}{
		{"", sshdtest.Options{}},
		{", file server only", sshdtest.Options{Config: []string{"ForceCommand internal-sftp"}}},
		{", no program", sshdtest.Options{Config: []string{"ForceCommand if [ \"$SSH_ORIGINAL_COMMAND\" = \"" + sftpServer(t) + "\" ]; then exec " + sftpServer(t) + "; fi; exit 127"}}},
	} {
		for _, direction := range bothDirections {
			t.Run(direction.name+host.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, host.options)
				from, to := b.paths(direction, "tree", "copy")
				names := []string{"empty", "with space", "new\nline", "back\\slash", "quote'", "-n", "bytes\xff\xfe", "dir/file"}
				for i, name := range names {
					writeFile(t, filepath.Join(from, name), fleettest.Noise(i*10_000))
				}
				writeFile(t, filepath.Join(from, "large"), fleettest.Noise(9<<20))
				opt := &fleetssh.CopyOptions{Recursive: true, Verify: true}
				r, err := direction.copy(b.client, fleettest.Soon(t), from+"/.", to, opt)
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, "files", r.Files, len(names)+1)
				sameTree(t, from, to, 0)

				// Identical files are skipped; files that only look identical are not.
				changed := filepath.Join(to, "dir/file")
				other := fleettest.Noise(70_000)
				other[5] ^= 1
				writeFile(t, changed, other)
				r, err = direction.copy(b.client, fleettest.Soon(t), from+"/.", to, opt)
				fleettest.Equal(t, "error", err, nil)
				fleettest.Equal(t, "files", r.Files, 1)
				fleettest.Equal(t, "skipped", r.Skipped, len(names))
				sameTree(t, from, to, 0)
				nothingLeft(t, b.dir)
			})
		}
	}
}

// flipper writes a script that runs a file server and changes a byte of every "needle" on the way
// to it or from it.
func flipper(t testing.TB, direction copyDirection) string {
	const flip = `perl -e 'while (sysread STDIN, $b, 65536) { $b =~ s/needle/nEedle/g; syswrite STDOUT, $b }'`
	if direction.name == "upload" {
		return wrapper(t, flip+" | "+sftpServer(t))
	}
	return wrapper(t, sftpServer(t)+" | "+flip)
}

// A file damaged in transit does not get its final name.
func TestSSHDCopyVerifyDamaged(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{FileServer: flipper(t, direction)})
			from, to := b.paths(direction, "tree", "copy")
			good := []byte(strings.Repeat("hay\n", 1000))
			writeFile(t, filepath.Join(from, "good"), good)
			writeFile(t, filepath.Join(from, "bad"), append(good, "needle\n"...))
			writeFile(t, filepath.Join(to, "bad"), []byte("old"))
			r, err := direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &fleetssh.CopyOptions{Recursive: true, Verify: true})
			e := fleettest.AsError[*fleetssh.CopyError](t, err)
			fleettest.Equal(t, "op", e.Op, "verify")
			fleettest.Equal(t, "path", filepath.Base(e.Path), "bad")
			fleettest.Contains(t, err.Error(), "checksums differ")
			fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
			sameContent(t, filepath.Join(to, "good"), good)
			sameContent(t, filepath.Join(to, "bad"), []byte("old"))
			nothingLeft(t, b.dir)

			// Without Verify the damage goes unnoticed.
			_, err = direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &fleetssh.CopyOptions{Recursive: true})
			fleettest.Equal(t, "error", err, nil)
			sameContent(t, filepath.Join(to, "bad"), append(good, "nEedle\n"...))
		})
	}
}

// If the source changes during the copy, verification fails.
func TestSSHDCopyChanged(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, direction := range bothDirections {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "file", "copy")
				writeFile(t, from, fleettest.Noise(6<<20))
				opt := protocol.options
				opt.Verify, opt.Rate = true, 12<<20
				var once sync.Once
				opt.Progress = func(p fleetssh.CopyProgress) {
					if !p.Ended { // called before the block is complete, even on a busy machine
						once.Do(func() {
							file, err := os.OpenFile(from, os.O_WRONLY, 0)
							if err == nil {
								_, err = file.WriteAt([]byte("changed"), 0)
							}
							if err == nil {
								err = file.Close()
							}
							fleettest.Equal(t, "change", err, nil)
						})
					}
				}
				r, err := direction.copy(b.client, fleettest.Soon(t), from, to, &opt)
				fleettest.AsError[*fleetssh.CopyError](t, err)
				fleettest.Equal(t, "outcome", r.Outcome, fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
				if _, err := os.Lstat(to); !os.IsNotExist(err) {
					t.Errorf("an unverified copy has its final name: %v", err)
				}
				nothingLeft(t, b.dir)
			})
		}
	}
}

// A source that becomes shorter during the copy is an error, even without checksums.
func TestSSHDCopyTruncated(t *testing.T) {
	t.Parallel()
	for _, protocol := range bothProtocols {
		for _, direction := range bothDirections {
			t.Run(direction.name+protocol.name, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				b := newCopyBox(t, sshdtest.Options{})
				from, to := b.paths(direction, "tree", "copy")
				file := filepath.Join(from, "file")
				writeFile(t, file, fleettest.Noise(6<<20))
				writeFile(t, filepath.Join(from, "other"), fleettest.Noise(1000))
				opt := protocol.options
				opt.Rate, opt.Recursive = 4<<20, true
				var once sync.Once
				opt.Progress = func(p fleetssh.CopyProgress) {
					if !p.Ended && p.Total > 1000 {
						once.Do(func() { fleettest.Equal(t, "truncate", os.Truncate(file, 3<<20), nil) })
					}
				}
				r, err := direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &opt)
				e := fleettest.AsError[*fleetssh.CopyError](t, err)
				fleettest.Equal(t, "path", e.Path, file)
				fleettest.Equal(t, "failed", r.Failed, 1)
				fleettest.Equal(t, "files", r.Files, 1)
				sameContent(t, filepath.Join(to, "other"), fleettest.Noise(1000))
				if _, err := os.Lstat(filepath.Join(to, "file")); !os.IsNotExist(err) {
					t.Errorf("an incomplete copy has its final name: %v", err)
				}
				nothingLeft(t, b.dir)
			})
		}
	}
}

// With Preserve, a file with the same size and time is skipped.
func TestSSHDCopySkip(t *testing.T) {
	t.Parallel()
	for _, direction := range bothDirections {
		t.Run(direction.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			b := newCopyBox(t, sshdtest.Options{})
			from, to := b.paths(direction, "tree", "copy")
			for i := range 20 {
				writeFile(t, filepath.Join(from, fmt.Sprint(i)), fleettest.Noise(1000))
			}
			if err := os.Symlink("1", filepath.Join(from, "link")); err != nil {
				t.Fatal(err)
			}
			opt := fleetssh.CopyOptions{Recursive: true, Preserve: true}
			r, err := direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "files", r.Files, 21)

			var skipped int
			opt.Progress = func(p fleetssh.CopyProgress) {
				if p.Skipped && p.Ended && p.Err == nil {
					skipped++
				}
			}
			now := time.Now()
			if err := os.Chtimes(filepath.Join(to, "3"), now, now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(to, "4"), 0o600); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(from, "5"), fleettest.Noise(1001))
			r, err = direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &opt)
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "files", r.Files, 3)
			fleettest.Equal(t, "skipped", r.Skipped, 18)
			fleettest.Equal(t, "skipped in Progress", skipped, 18)
			fleettest.Equal(t, "bytes", r.Bytes, 3001)
			sameTree(t, from, to, withModes|withTimes)

			// Without Preserve, size and time do not show that a file is unchanged.
			r, err = direction.copy(b.client, fleettest.Soon(t), from+"/.", to, &fleetssh.CopyOptions{Recursive: true})
			fleettest.Equal(t, "error", err, nil)
			fleettest.Equal(t, "files", r.Files, 20)
		})
	}
}
