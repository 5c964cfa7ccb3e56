package copy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// Whatever a host lists or sends, nothing is written outside the destination, and the copy ends.
// With SFTP, the good files of the host arrive.
func TestHostileHosts(t *testing.T) {
	t.Parallel()
	good := bytes.Repeat([]byte("good"), 25_000) // more than a memory page
	for _, test := range []struct {
		fault    simfleet.Fault
		protocol fleetssh.CopyProtocol
		arrives  bool   // the good file
		text     string // of the error
	}{
		{simfleet.Fault{Kind: simfleet.HostileNames}, fleetssh.SFTP, true, "the host"},
		{simfleet.Fault{Kind: simfleet.LongNames}, fleetssh.SFTP, true, "name"},
		{simfleet.Fault{Kind: simfleet.WrongSize, Bytes: 100}, fleetssh.SFTP, false, "shorter than"},
		{simfleet.Fault{Kind: simfleet.HostileNames}, fleetssh.SCP, false, ""},
		{simfleet.Fault{Kind: simfleet.LongNames}, fleetssh.SCP, false, "5120"},
		{simfleet.Fault{Kind: simfleet.WrongSize, Bytes: 100}, fleetssh.SCP, false, ""},
		{simfleet.Fault{Kind: simfleet.WrongSize, Bytes: -100}, fleetssh.SCP, false, ""},
	} {
		t.Run(fmt.Sprint(test.fault, test.protocol), func(t *testing.T) {
			t.Parallel()
			s := fleettest.NewServer(t, func(h *simfleet.Host) { h.Fault = test.fault })
			s.WriteFile("/srv/tree/good", good, 0o644)
			parent := t.TempDir()
			dir := filepath.Join(parent, "a", "b")
			ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
			defer cancel()
			r, err := s.Dial(t).Download(ctx, "/srv/tree", dir+"/", &fleetssh.CopyOptions{Recursive: true, Protocol: test.protocol})
			if e, ok := errors.AsType[*fleetssh.CopyError](err); !ok || !strings.Contains(err.Error(), test.text) || e.More < 0 || r.Failed == 0 || outcomeText(r) != "exited 1" {
				t.Errorf("%+v, %v", r, err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "tree", "good")); (err == nil) != test.arrives || test.arrives && !bytes.Equal(got, good) {
				t.Errorf("the good file: %d bytes, %v", len(got), err)
			}
			if outside := filesOutside(parent, dir); len(outside) != 0 {
				t.Errorf("written outside the destination: %q", outside)
			}
		})
	}
}

// filesOutside returns the paths below parent that are neither dir, nor below it, nor above it. It
// also returns partial files, wherever they are.
func filesOutside(parent, dir string) (found []string) {
	filepath.WalkDir(parent, func(name string, e os.DirEntry, err error) error {
		above := strings.HasPrefix(dir+"/", name+"/")
		if err != nil || !above && !strings.HasPrefix(name, dir+"/") || strings.Contains(name, ".fleetssh-") {
			found = append(found, name)
		}
		return nil
	})
	return found
}

// A host that sends empty files without end is disconnected when the client ends the copy, and does
// not delay other hosts.
func TestEndlessHost(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 2, func(i int, h *simfleet.Host) {
		if i == 0 {
			h.Fault.Kind = simfleet.EndlessListing
		}
	})
	for _, s := range fleet.Servers {
		s.WriteFile("/srv/endless/good", []byte("good"), 0o644)
	}
	dir := t.TempDir()
	for _, protocol := range []fleetssh.CopyProtocol{fleetssh.SFTP, fleetssh.SCP} {
		opts := &fleetssh.CopyOptions{Recursive: true, Protocol: protocol, Timeout: 2 * time.Second}
		results, err := fleettest.NewFleet(t, hosts[0]).Download(fleettest.Soon(t), "/srv/endless", dir, opts)
		for outcomeText(results[0]) != "timed_out" && opts.Timeout < fleettest.Lapse { // the copy had not started in time
			opts.Timeout *= 3
			results, err = fleettest.NewFleet(t, hosts[0]).Download(fleettest.Soon(t), "/srv/endless", dir, opts)
		}
		fleettest.AsError[*fleetssh.HostsError](t, err)
		fleettest.Equal(t, "outcome of the endless host", outcomeText(results[0]), "timed_out")
		ctx, cancel := context.WithCancel(fleettest.Soon(t))
		opts.Timeout, opts.Finished = 0, func(i int, _ fleetssh.CopyResult) {
			if i == 1 {
				cancel()
			}
		}
		results, err = fleettest.NewFleet(t, hosts...).Download(ctx, "/srv/endless", dir, opts)
		fleettest.AsError[*fleetssh.HostsError](t, err)
		if outcomeText(results[0]) != "cancelled" || outcomeText(results[1]) != "exited 0" {
			t.Errorf("%v %v, %v %v", results[0].Outcome, results[0].Err, results[1].Outcome, results[1].Err)
		}
	}
	if outside := filesOutside(filepath.Join(dir, hosts[0].Host), filepath.Join(dir, hosts[0].Host, "endless")); len(outside) != 0 {
		t.Errorf("%d files outside, as %s", len(outside), outside[0])
	}
}

// The host decides which files a pattern matches, but they are not written outside the destination.
func TestHostileGlob(t *testing.T) {
	t.Parallel()
	s := fleettest.Faulty(t, simfleet.HostileNames)
	s.WriteFile("/srv/a.log", []byte("log"), 0o644)
	parent := t.TempDir()
	dir := filepath.Join(parent, "in")
	for _, pattern := range []string{"/srv/*", "/srv/*.log", "/srv/.*"} {
		for _, protocol := range []fleetssh.CopyProtocol{fleetssh.SFTP, fleetssh.SCP} {
			ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
			s.Dial(t).Download(ctx, pattern, dir, &fleetssh.CopyOptions{Glob: true, Recursive: true, Protocol: protocol})
			if ctx.Err() != nil {
				t.Errorf("%s %v hung", pattern, protocol)
			}
			cancel()
		}
	}
	if outside := filesOutside(parent, dir); len(outside) != 0 {
		t.Errorf("written outside the destination: %q", outside)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a.log")); string(got) != "log" {
		t.Errorf("%q, %v", got, err)
	}
}

// A host that lists files that do not exist does not disturb an upload with Resume and Delete.
func TestUploadToHostileHosts(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), 100_000)
	for _, kind := range []simfleet.FaultKind{simfleet.HostileNames, simfleet.LongNames, simfleet.WrongSize} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := fleettest.Faulty(t, kind)
			s.MkdirAll("/home/alice/tree")
			src := filepath.Join(t.TempDir(), "tree")
			os.Mkdir(src, 0o755)
			os.WriteFile(filepath.Join(src, "f"), content, 0o644)
			ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
			defer cancel()
			r, err := s.Dial(t).Upload(ctx, src, ".", &fleetssh.CopyOptions{Recursive: true, Resume: true, Delete: true})
			if r.Files != 1 || ctx.Err() != nil {
				t.Errorf("%+v, %v", r, err)
			}
			wantRemote(t, s.Server, "/home/alice/tree/f", content)
			if !slices.Contains(s.FileNames(), "/home/alice/") {
				t.Errorf("%q", s.FileNames())
			}
		})
	}
}

// Copies at the same time on one connection do not disturb each other.
func TestTwoCopiesAtOnce(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, func(h *simfleet.Host) { h.MaxSessions = 2 })
	c := s.Dial(t)
	content := bytes.Repeat([]byte("0123456789"), 300_000)
	file := localFile(t, "f", content)
	errs := make(chan error)
	for i := range 2 {
		go func() {
			_, err := c.Upload(t.Context(), file, fmt.Sprint("copy", i), nil)
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for i := range 2 {
		wantRemote(t, s.Server, fmt.Sprint("/home/alice/copy", i), content)
	}
}
