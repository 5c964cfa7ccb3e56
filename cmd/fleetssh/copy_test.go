package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// planFor returns the plan of a command line for the hosts of an expression.
func planFor(t *testing.T, expr, line string) (*copyPlan, error) {
	t.Helper()
	hosts, err := (&selection.ExprFlags{Exprs: []string{expr}}).Select(fleetssh.HostConfig{User: "ann"})
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
		want              []string // output of the dry run
		Error             string
	}{
		{"literal %", "web[1-2]", "put copy_test.go 100%", []string{"web1: copy_test.go -> '100%'", "web2: copy_test.go -> '100%'"}, ""},
		{"several", "web1", "put copy_test.go main.go d/", []string{"web1: copy_test.go main.go -> d/"}, ""},
		{"values", "web1:24,bob@web2", "put copy_test.go /%(host)s.%(user)s.%(port)s.%(index)s%%", []string{"web2: copy_test.go -> '/web2.bob.22.0%'", "web1: copy_test.go -> '/web1.ann.24.1%'"}, ""},
		{"in the source", "web[1-2]", "put %(host)s x", nil, "web1, for web1: no such file or directory"},
		{"unknown value", "web1", "put copy_test.go %(nope)s", nil, `"%(nope)s": no value of this name`},
		{"missing", "web1", "put no-such-file x", nil, "no-such-file: no such file or directory"},
		{"directory", "web1", "put testdata x", nil, "testdata is a directory"},
		{"a directory per host", "web[1-2]", "get /a /b* out", []string{"web1: /a '/b*' -> out/web1/", "web2: /a '/b*' -> out/web2/"}, ""},
		{"labels tell hosts apart", "web1,web1:24,[::1]", "get 100% .", []string{"::1: '100%' -> ./::1/", "web1:22: '100%' -> ./web1:22/", "web1:24: '100%' -> ./web1:24/"}, ""},
		{"a name per host", "web[1-2]", "get /a/%(host)s out/%(host)s.txt", []string{"web1: /a/web1 -> out/web1.txt", "web2: /a/web2 -> out/web2.txt"}, ""},
		{"the same name", "web[1-2]", "get /a out/%(port)s", nil, "web2: its copy would overwrite files of web1 at out/22"},
		{"the same directory, other files", "web[1-2]", "get /a/%(host)s out/%(user)s/", []string{"web1: /a/web1 -> out/ann/", "web2: /a/web2 -> out/ann/"}, ""},
		{"the same path, spelled differently", "web1,web1:24", "get /a out/%(user)s/../x", nil, "web1:24: its copy would overwrite files of web1:22 at out/x"},
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
			if err := p.show(t.Context(), display.Plan{Screen: screen, Hosts: p.hosts, Sizes: []int{len(p.hosts)}, Verbose: true}); err != nil {
				t.Fatal(err)
			}
			screen.Flush()
			got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if n := len(p.hosts); n > 1 { // the last line is the total
				got = got[:n]
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// Recorded paths are absolute, so that a rerun from another directory copies the same files.
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
	if got, want := p.bytes(nil), []int64{10 + 1100 + 10, 1100 + 1100 + 10}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
	stopped := make(chan struct{})
	close(stopped)
	if got := p.bytes(stopped); got != nil {
		t.Errorf("%d from a measurement that was stopped", got)
	}
}
