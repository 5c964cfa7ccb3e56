package copy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// localFile writes a file in a temporary directory.
func localFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantRemote checks the content of a file on a host, and that no partial file is left there.
func wantRemote(t testing.TB, s *simfleet.Server, name string, want []byte) {
	t.Helper()
	if got, err := s.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s on %s: %d bytes, %v; want %d", name, s.Name(), len(got), err, len(want))
	}
	for _, left := range s.FileNames() {
		if strings.Contains(left, ".fleetssh-") {
			t.Errorf("the partial file %s is left on %s", left, s.Name())
		}
	}
}

func outcomeText(r fleetssh.CopyResult) string {
	if r.Outcome.Kind == fleetssh.Exited {
		return fmt.Sprintf("exited %d", r.Outcome.ExitCode)
	}
	return fmt.Sprint(r.Outcome.Kind)
}

// TestUploadInHostOrder uploads a file to hosts that each fail in another way. Every host has one
// outcome, in the order of the hosts.
func TestUploadInHostOrder(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	faults := []simfleet.Fault{
		{}, {Kind: simfleet.NoSFTP}, {Kind: simfleet.NoExtensions}, {Kind: simfleet.DenyPath, Path: "/home/alice"},
		{Kind: simfleet.DiskFull, Bytes: 100_000}, {Kind: simfleet.CutUpload, Bytes: 100_000}, {Kind: simfleet.StallFile, Bytes: 100_000},
		{Kind: simfleet.RefuseOpen}, {Kind: simfleet.ResetAccept}, {Kind: simfleet.StallExec}, {Kind: simfleet.CloseWithoutStatus}, {},
	}
	want := []string{
		"exited 0", "not_started", "exited 0", "exited 1", "exited 1", "lost", "timed_out",
		"not_started", "unreachable", "lost", "exited 0", "exited 0",
	}
	fleet, hosts := fleettest.Simulated(t, len(faults), func(i int, h *simfleet.Host) { h.Fault = faults[i] })
	for i := range hosts {
		hosts[i].ConnectTimeout = fleettest.Lapse
	}
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 5
	var inside atomic.Int32
	ended := make(map[string]int)
	finished := make(map[int]int)
	exclusively := func(f func()) {
		if inside.Add(1) != 1 {
			t.Error("two calls at the same time")
		}
		f()
		inside.Add(-1)
	}
	opts := &fleetssh.CopyOptions{
		StallTimeout: fleettest.Lapse,
		Progress: func(c fleetssh.CopyProgress) {
			exclusively(func() {
				if finished[c.Index] > 0 || ended[fmt.Sprint(c.Index, c.Path)] > 0 {
					t.Errorf("progress after the end: %+v", c)
				}
				if c.Ended {
					ended[fmt.Sprint(c.Index, c.Path)]++
				}
			})
		},
		Finished: func(i int, r fleetssh.CopyResult) { exclusively(func() { finished[i]++ }) },
	}
	results, err := p.Upload(t.Context(), localFile(t, "f", content), "dir/", opts)
	failed := fleettest.AsError[*fleetssh.HostsError](t, err)
	if len(results) != len(hosts) || failed.Total != len(hosts) || len(finished) != len(hosts) {
		t.Fatalf("%d results, %d finished, %v", len(results), len(finished), err)
	}
	for i, r := range results {
		if got := outcomeText(r); got != want[i] || finished[i] != 1 || (r.Err == nil) != (want[i] == "exited 0") {
			t.Errorf("%v: outcome %s, want %s; finished %d times; %v", faults[i], got, want[i], finished[i], r.Err)
		}
		if r.Host.Host != hosts[i].Host {
			t.Errorf("result %d is of %s", i, r.Host.Host)
		}
		switch want[i] {
		case "exited 0":
			wantRemote(t, fleet.Servers[i], "/home/alice/dir/f", content)
			if r.Files != 1 || r.Bytes != int64(len(content)) || r.Failed != 0 || r.Timing().Run <= 0 {
				t.Errorf("%+v", r)
			}
		case "exited 1":
			if e, ok := errors.AsType[*fleetssh.CopyError](r.Err); !ok || e.Path == "" || e.More != 0 || r.Failed != 1 {
				t.Errorf("%v: %+v, %#v", faults[i], r, r.Err)
			}
			fallthrough
		default:
			for _, name := range fleet.Servers[i].FileNames() {
				if name == "/home/alice/dir/f" || want[i] == "exited 1" && strings.Contains(name, ".fleetssh-") {
					t.Errorf("%v: %s is left", faults[i], name)
				}
			}
		}
	}
}

func TestDownloadFromEveryHost(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 12, nil)
	for i, s := range fleet.Servers {
		s.WriteFile("/etc/name", []byte(fmt.Sprint("I am ", i)), 0o644)
	}
	hosts = append(hosts, hosts[3], hosts[4])
	hosts[4].Alias, hosts[13].Alias = "four", "four" // the same alias and address
	hosts[5].Alias, hosts[6].Alias = "five", "five"
	dir := t.TempDir()
	results, err := fleettest.NewFleet(t, hosts...).Download(t.Context(), "/etc/name", dir, nil)
	if err != nil || len(results) != len(hosts) {
		t.Fatal(err)
	}
	want := map[string]int{"four#4": 4, "four#13": 4, "five#5": 5, "five#6": 6, hosts[3].Host + "#3": 3, hosts[3].Host + "#12": 3}
	for i := range 12 {
		if i < 3 || i > 6 {
			want[hosts[i].Host] = i
		}
	}
	dirs, _ := os.ReadDir(dir)
	if len(dirs) != len(want) {
		t.Errorf("%v", dirs)
	}
	for name, i := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name, "name")); string(got) != fmt.Sprint("I am ", i) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestCopyHostArgs(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 3, nil)
	p := fleettest.NewFleet(t, hosts...)
	dir := t.TempDir()
	args := make([]fleetssh.Args, len(hosts))
	for i := range hosts {
		args[i].Map = map[string]string{"n": fmt.Sprint(i)}
		os.WriteFile(filepath.Join(dir, fmt.Sprint("local", i)), []byte{byte('a' + i)}, 0o644)
	}
	opts := &fleetssh.CopyOptions{HostArgs: args}
	if _, err := p.Upload(t.Context(), filepath.Join(dir, "local%(n)s"), "new/remote-%(n)s", opts); err != nil {
		t.Fatal(err)
	}
	for i, s := range fleet.Servers {
		wantRemote(t, s, fmt.Sprint("/home/alice/new/remote-", i), []byte{byte('a' + i)})
	}
	if _, err := p.Download(t.Context(), "new/remote-%(n)s", filepath.Join(dir, "back", "%(n)s.txt"), opts); err != nil {
		t.Fatal(err)
	}
	for i := range hosts {
		if got, err := os.ReadFile(filepath.Join(dir, "back", fmt.Sprint(i, ".txt"))); string(got) != string(rune('a'+i)) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// Errors that can be found beforehand are reported without contacting a host.
func TestCopyRefused(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 2, nil)
	p := fleettest.NewFleet(t, hosts...)
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "d"), 0o755)
	file := localFile(t, "f", []byte("x"))
	list := func(values ...string) []fleetssh.Args {
		var args []fleetssh.Args
		for _, v := range values {
			args = append(args, fleetssh.Args{List: []string{v}})
		}
		return args
	}
	for name, test := range map[string]struct {
		upload   bool
		from, to string
		opts     fleetssh.CopyOptions
		want     string
	}{
		"too few HostArgs":               {from: "/f%s", to: dir, opts: fleetssh.CopyOptions{HostArgs: list("1")}, want: "*fleetssh.HostArgumentError"},
		"missing value":                  {from: "/f%(x)s", to: dir, opts: fleetssh.CopyOptions{HostArgs: list("1", "2")}, want: "*fleetssh.HostArgumentError"},
		"NUL byte":                       {from: "/f%s", to: dir, opts: fleetssh.CopyOptions{HostArgs: list("1", "a\x00b")}, want: "*fleetssh.HostArgumentError"},
		"same local name":                {from: "/f", to: dir + "/new", opts: fleetssh.CopyOptions{HostArgs: []fleetssh.Args{{}, {}}}, want: "*fleetssh.HostArgumentError"},
		"same local directory":           {from: "/f", to: dir, opts: fleetssh.CopyOptions{HostArgs: []fleetssh.Args{{}, {}}}, want: "*fleetssh.HostArgumentError"},
		"same path, spelled differently": {from: "/f", to: dir + "/%s", opts: fleetssh.CopyOptions{HostArgs: list("a", "d/../a")}, want: "*fleetssh.HostArgumentError"},
		"one below the other":            {from: "/f", to: dir + "/%s", opts: fleetssh.CopyOptions{HostArgs: list("a", "a/b")}, want: "*fleetssh.HostArgumentError"},
		"no such source":                 {upload: true, from: dir + "/none", to: "/f", want: "*fleetssh.CopyError"},
		"a directory":                    {upload: true, from: dir, to: "/f", want: "*fleetssh.CopyError"},
		"a device":                       {upload: true, from: "/dev/null", to: "/f", want: "*fleetssh.CopyError"},
		"no source":                      {upload: true, to: "/f", want: "*fleetssh.ConfigError"},
		"two sources of one name":        {upload: true, from: file, to: "/", opts: fleetssh.CopyOptions{MoreSources: []string{file}}, want: "*fleetssh.CopyError"},
		"delete for one file":            {upload: true, from: file, to: "/", opts: fleetssh.CopyOptions{Delete: true}, want: "*fleetssh.ConfigError"},
		"negative rate":                  {upload: true, from: file, to: "/", opts: fleetssh.CopyOptions{Rate: -1}, want: "*fleetssh.ConfigError"},
		"resume by SCP":                  {upload: true, from: file, to: "/", opts: fleetssh.CopyOptions{Protocol: fleetssh.SCP, Resume: true}, want: "*fleetssh.ConfigError"},
		"unknown protocol":               {upload: true, from: file, to: "/", opts: fleetssh.CopyOptions{Protocol: 7}, want: "*fleetssh.ConfigError"},
		"a local pattern":                {upload: true, from: file, to: "/", opts: fleetssh.CopyOptions{Glob: true}, want: "*fleetssh.ConfigError"},
	} {
		copyFiles := p.Download
		if test.upload {
			copyFiles = p.Upload
		}
		results, err := copyFiles(t.Context(), test.from, test.to, &test.opts)
		if results != nil || fmt.Sprintf("%T", err) != test.want {
			t.Errorf("%s: %v, %T %v", name, results, err, err)
		}
	}
	for _, s := range fleet.Servers {
		if n := s.Stats().Connections; n != 0 {
			t.Errorf("%d connections", n)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("%v", names)
	}
}

func TestCopyStopOnError(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 6, func(i int, h *simfleet.Host) {
		if i == 2 {
			h.Fault.Kind = simfleet.DenyPath
		}
	})
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize, p.StopOnError = 1, true
	calls := 0
	results, err := p.Upload(t.Context(), localFile(t, "f", []byte("x")), "f", &fleetssh.CopyOptions{Finished: func(int, fleetssh.CopyResult) { calls++ }})
	fleettest.AsError[*fleetssh.HostsError](t, err)
	var got []string
	for _, r := range results {
		got = append(got, outcomeText(r))
	}
	if fmt.Sprint(got) != "[exited 0 exited 0 exited 1 skipped skipped skipped]" || calls != 6 {
		t.Errorf("%v, %d calls of Finished", got, calls)
	}
}

// A cancelled copy ends soon on all hosts, each with its outcome, and the connections stay usable.
func TestCopyCancelled(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), 8<<20)
	fleet, hosts := fleettest.Simulated(t, 4, nil)
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 2
	for name, timeout := range map[string]time.Duration{"cancelled": 0, "timed_out": 5 * time.Second} {
		ctx, cancel := context.WithCancel(t.Context())
		begun, rate := time.Now(), int64(2<<20)
		if timeout > 0 {
			rate = 256 << 10 // too slow for any host to finish in time
		}
		opts := &fleetssh.CopyOptions{Rate: rate, Timeout: timeout, Progress: func(c fleetssh.CopyProgress) {
			if timeout == 0 && c.Done > 1<<20 && ctx.Err() == nil {
				begun = time.Now()
				cancel()
			}
		}}
		results, err := p.Upload(ctx, localFile(t, "f", content), "f", opts)
		cancel()
		fleettest.AsError[*fleetssh.HostsError](t, err)
		if took := time.Since(begun); took > 2*timeout+fleettest.Promptly {
			t.Errorf("%s: took %v", name, took)
		}
		for i, r := range results {
			if got := outcomeText(r); got != name && (name != "cancelled" || got != "skipped") {
				t.Errorf("%s: host %d %s, %v", name, i, got, r.Err)
			}
		}
	}
	if _, err := p.Upload(t.Context(), localFile(t, "f", content), "f", &fleetssh.CopyOptions{Resume: true}); err != nil {
		t.Fatal(err)
	}
	for _, s := range fleet.Servers {
		if got, err := s.ReadFile("/home/alice/f"); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}
