package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// planFor returns the plan of a command line for hosts.
func planFor(t *testing.T, expr, line string) (*copyPlan, error) {
	t.Helper()
	hosts, err := (&selection.ExprFlags{Exprs: []string{expr}}).Choose(fleetssh.HostConfig{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(line)
	return (&copyOptions{verb: words[0]}).plan(words[1:], hosts)
}

func TestCopyPlan(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, hosts, line string
		want              []string // what the dry run says
		Error             string
	}{
		{"as it is", "web[1-2]", "put copy_test.go 100%", []string{"web1: copy_test.go -> '100%'", "web2: copy_test.go -> '100%'"}, ""},
		{"several", "web1", "put copy_test.go main.go d/", []string{"web1: copy_test.go main.go -> d/"}, ""},
		{"values", "web1:24,bob@web2", "put copy_test.go /%(host)s.%(user)s.%(port)s.%(index)s%%", []string{"web2: copy_test.go -> '/web2.bob.22.0%'", "web1: copy_test.go -> '/web1.ann.24.1%'"}, ""},
		{"in the source", "web[1-2]", "put %(host)s x", nil, "web1, for web1: no such file or directory"},
		{"unknown value", "web1", "put copy_test.go %(nope)s", nil, `"%(nope)s": no value of this name`},
		{"missing", "web1", "put no-such-file x", nil, "no-such-file: no such file or directory"},
		{"directory", "web1", "put testdata x", nil, "testdata is a directory"},
		{"a folder each", "web[1-2]", "get /a /b* out", []string{"web1: /a '/b*' -> out/web1/", "web2: /a '/b*' -> out/web2/"}, ""},
		{"labels tell hosts apart", "web1,web1:24,[::1]", "get 100% .", []string{"::1: '100%' -> ./::1/", "web1:22: '100%' -> ./web1:22/", "web1:24: '100%' -> ./web1:24/"}, ""},
		{"a name each", "web[1-2]", "get /a/%(host)s out/%(host)s.txt", []string{"web1: /a/web1 -> out/web1.txt", "web2: /a/web2 -> out/web2.txt"}, ""},
		{"the same name", "web[1-2]", "get /a out/%(port)s", nil, "web2: its files would go to out/22, where those of web1 go"},
		{"the same folder, other files", "web[1-2]", "get /a/%(host)s out/%(user)s/", []string{"web1: /a/web1 -> out/ann/", "web2: /a/web2 -> out/ann/"}, ""},
		{"the same place by another way", "web1,web1:24", "get /a out/%(user)s/../x", nil, "web1:24: its files would go to out/x, where those of web1:22 go"},
		{"values in the source only", "web[1-2]", "get /a/%(index)s out", []string{"web1: /a/0 -> out/web1/", "web2: /a/1 -> out/web2/"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := planFor(t, test.hosts, test.line)
			if test.Error != "" {
				if err == nil || !strings.Contains(err.Error(), test.Error) {
					t.Errorf("error %v, want %q", err, test.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			screen := termline.New(&out, &out)
			if err := p.show(screen, []int{len(p.hosts)}); err != nil {
				t.Fatal(err)
			}
			screen.Flush()
			if got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// A copy that is repeated from another folder copies the same.
func TestRecordedPaths(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		plan copyPlan
		want []string
	}{
		{copyPlan{verb: "put", given: []string{"a", "/b", "c/", "d"}}, []string{here + "/a", "/b", here + "/c/", "d"}},
		{copyPlan{verb: "get", given: []string{"a*", "/b", "./d"}}, []string{"a*", "/b", here + "/./d"}},
		{copyPlan{verb: "put", given: []string{"a\xff", "d"}}, nil},
		{copyPlan{verb: "put", given: []string{strings.Repeat("a", maxRecordedPaths), "d"}}, nil},
	} {
		given := slices.Clone(test.plan.given)
		if got := test.plan.recorded(); !slices.Equal(got, test.want) {
			t.Errorf("%q, want %q", got, test.want)
		}
		if !slices.Equal(given, test.plan.given) {
			t.Errorf("%q became %q", given, test.plan.given)
		}
	}
}

// statusFor returns the status of a copy to hosts that are sent a file of so many bytes each.
func statusFor(verb string, shares ...int64) *copyStatus {
	hosts := make([]selection.Host, len(shares))
	s := &copyStatus{copyView: copyView{view: view{tally: results.New(hosts)}, o: new(copyOptions), plan: &copyPlan{verb: verb, hosts: hosts}}, open: make(map[openFile]int64), seen: make([]int64, len(hosts)), ended: make([]bool, len(hosts))}
	s.copyDisplay = newCopyStream(s.copyView)
	s.o.show.quiet = true
	if verb == "put" {
		s.shares = shares
	}
	return s
}

func TestCopyStatus(t *testing.T) {
	t.Parallel()
	s := statusFor("put", 1000, 1000, 1000)
	for _, p := range []fleetssh.CopyProgress{
		{Index: 0, Path: "a", Done: 300, Total: 600},
		{Index: 1, Path: "a", Done: 200, Total: 600},
		{Index: 0, Path: "a", Done: 600, Total: 600, Ended: true},
		{Index: 0, Path: "b", Done: 400, Total: 400, Ended: true, Skipped: true},
	} {
		s.progress(p)
	}
	if got := s.amount(); got != "40% of 2.9 KiB" || s.moved != 800 {
		t.Errorf("%s, %d moved", got, s.moved)
	}
	// What a host that failed was not sent is no part of the whole any more.
	s.finished(&results.Result{Index: 1})
	s.finished(&results.Result{Index: 2})
	s.finished(&results.Result{Index: 0, OK: true})
	if got := s.text(); !strings.HasPrefix(got, "put: 3 of 3 hosts done, 100% of 1.2 KiB, ") || !strings.HasSuffix(got, ", 2 failed, 0s") {
		t.Error(got)
	}
	if len(s.open) != 1 { // that of host 1, of which nothing more came
		t.Errorf("open: %v", s.open)
	}
	s = statusFor("get", 0)
	s.progress(fleetssh.CopyProgress{Path: "a", Done: 2048})
	if got := s.amount(); got != "2.0 KiB" {
		t.Error(got)
	}
	// What was there before a copy went on counts as there, and not as fast.
	s = statusFor("get", 0)
	s.o.resume = true
	s.progress(fleetssh.CopyProgress{Path: "a", Done: 1 << 30})
	s.progress(fleetssh.CopyProgress{Path: "a", Done: 1<<30 + 100})
	if s.amount() != "1.0 GiB" || s.moved != 100 {
		t.Errorf("%s, %d moved", s.amount(), s.moved)
	}
}

func TestCopyRate(t *testing.T) {
	t.Parallel()
	s := statusFor("get", 0)
	begun := time.Now()
	s.samples = []rateSample{{at: begun}}
	for tick := 1; tick <= 40; tick++ {
		s.moved = int64(tick) * 1000
		if tick > 20 {
			s.moved = 20000 // it stalls
		}
		got := s.rate(begun.Add(time.Duration(tick) * progressTick))
		if tick <= 20 && got != 4000 || tick == 40 && got != 0 {
			t.Errorf("tick %d: %d bytes a second", tick, got)
		}
	}
	if len(s.samples) > 20 {
		t.Errorf("%d samples are kept", len(s.samples))
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, size := range map[string]int{"a": 10, "tree/b": 100, "tree/c/d": 1000} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"tree/link": "b", "link": "tree", "file": "a"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	hosts := []selection.Host{{Label: "a"}, {Label: "tree"}}
	p := &copyPlan{sources: []string{filepath.Join(dir, "%(host)s"), filepath.Join(dir, "link"), filepath.Join(dir, "file")}, target: "x", hosts: hosts}
	var err error
	if p.args, err = copyArgs(nil, hosts); err != nil {
		t.Fatal(err)
	}
	if got, want := p.measure(nil), []int64{10 + 1100 + 10, 1100 + 1100 + 10}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
	stopped := make(chan struct{})
	close(stopped)
	if got := p.measure(stopped); got != nil {
		t.Errorf("%d, although it was stopped", got)
	}
}

// What is no text, and what drives a terminal, is harmless in what is shown of files.
func TestCopyDisplays(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	screen := termline.New(&out, &errOut)
	hosts := []selection.Host{{Name: "web1", Label: "web1"}}
	v := copyView{view: view{screen: screen, tally: results.New(hosts)}, o: new(copyOptions)}
	v.o.show.verbose = true
	failed := &fleetssh.CopyError{Op: "open", Path: "/x\n\x1b[2J\xff", Local: true, Err: &os.PathError{Err: fs.ErrPermission}}
	for _, d := range []copyDisplay{newCopyStream(v), &copyJSON{copyView: v}} {
		d.progress(fleetssh.CopyProgress{Path: "/a\n\xff", Done: 3, Total: 3, Ended: true})
		d.progress(fleetssh.CopyProgress{Path: "/b\x9b", Done: 1, Total: 3})
		d.progress(fleetssh.CopyProgress{Path: "/c\u202e", Done: 3, Total: 3, Ended: true, Skipped: true})
		d.progress(fleetssh.CopyProgress{Path: failed.Path, Ended: true, Err: failed})
		d.progress(fleetssh.CopyProgress{Path: "/" + strings.Repeat("ö", 50_000), Done: 3, Total: 3, Ended: true})
		screen.Flush()
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 5000 {
			t.Errorf("a line of %d bytes: %.80q", len(line), line)
		}
	}
	for text, wants := range map[string][]string{
		out.String(): {
			"web1: /a^J\\xff: 3 B\n", "web1: /c\\u202e: already there\n",
			`"path_base64":"L2EK/w==","bytes":3,"skipped":false,"error":null}`, `"path":"/c\u202e","bytes":3,"skipped":true`,
			`"error":{"kind":"copy","phase":"open",`,
		},
		errOut.String(): {"web1: cannot open local /x^J^[[2J\\xff: permission denied\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in %q", want, text)
			}
		}
		for _, bad := range []string{"\x1b", "\x9b", "\u202e", "\xff", "/b"} {
			if strings.Contains(text, bad) {
				t.Errorf("%q is in %q", bad, text)
			}
		}
	}
}
