package display

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// copyOf shows a copy to so many hosts, in batches, and returns what is on both streams. Hosts in failed
// have one file that was not copied.
func copyOf(hosts int, batches []int, flags *CopyFlags, failed ...int) (out, errOut string) {
	var to, errTo bytes.Buffer
	screen := termline.New(&to, &errTo)
	all := make([]selection.Host, hosts)
	for i := range all {
		all[i].Label = fmt.Sprintf("n%d", i+1)
	}
	v := CopyView{View: View{Screen: screen, Summary: results.New(all)}, flags: flags, Verb: "put", Batches: batches}
	d := newCopyText(v)
	for i := range all {
		c := fleetssh.CopyResult{Files: 2, Bytes: 68, Outcome: fleetssh.Outcome{Kind: fleetssh.Exited}}
		d.Progress(fleetssh.CopyProgress{Index: i, Path: "/etc/a", Done: 34, Total: 34, Ended: true})
		for _, f := range failed {
			if f == i {
				c.Files, c.Bytes, c.Failed, c.Outcome.ExitCode = 1, 34, 1, 1
				err := &fleetssh.CopyError{Op: fleetssh.OpCreate, Path: "/etc/\x1b[2Jb", Err: &os.PathError{Err: fs.ErrPermission}}
				d.Progress(fleetssh.CopyProgress{Index: i, Path: err.Path, Ended: true, Err: err})
			}
		}
		d.Finished(v.Summary.AddCopy(i, c))
	}
	d.Close()
	screen.Flush()
	took := regexp.MustCompile(` in [0-9.]+(m|µ|n)?s`)
	return took.ReplaceAllString(to.String(), " in T"), errTo.String()
}

// Hosts with the same result share one line, and one line says the total.
func TestCopyFold(t *testing.T) {
	t.Parallel()
	failure := func(hosts string) string { return hosts + ": cannot create /etc/^[[2Jb: permission denied\n" }
	for _, test := range []struct {
		name         string
		hosts        int
		batches      []int
		flags        CopyFlags
		failed       []int
		out, failure string
	}{
		{name: "all the same", hosts: 20, out: "n[1-20] (20): 2 files, 68 B\n20 hosts: 2 files each, 68 B in T\n"},
		{name: "some fail in the same way", hosts: 20, failed: []int{2, 6, 7},
			out:     "n[1-2,4-6,9-20] (17): 2 files, 68 B\nn[3,7-8] (3): 1 file, 34 B (1 failed)\n20 hosts: 37 files, 1.2 KiB (3 not copied) in T; 3 failed\n",
			failure: failure("n[3,7-8] (3)")},
		{name: "by batch", hosts: 5, batches: []int{1, 2, 2}, failed: []int{0, 4},
			out:     "n1: 1 file, 34 B (1 failed)\nn[2-3] (2): 2 files, 68 B\nn4: 2 files, 68 B\nn5: 1 file, 34 B (1 failed)\n5 hosts: 8 files, 272 B (2 not copied) in T; 2 failed\n",
			failure: failure("n1") + failure("n5")},
		{name: "quiet", hosts: 20, flags: CopyFlags{quiet: true}, failed: []int{0, 1}, failure: failure("n[1-2] (2)")},
		{name: "one host", hosts: 1, out: "n1: 2 files, 68 B in T\n"},
		{name: "verbose", hosts: 2, flags: CopyFlags{Verbose: true},
			out: "n1: /etc/a: 34 B\nn1: 2 files, 68 B in T\nn2: /etc/a: 34 B\nn2: 2 files, 68 B in T\n2 hosts: 2 files each, 68 B in T\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.batches == nil {
				test.batches = []int{test.hosts}
			}
			out, errOut := copyOf(test.hosts, test.batches, &test.flags, test.failed...)
			if out != test.out {
				t.Errorf("output:\n%swant:\n%s", out, test.out)
			}
			if got, _, _ := strings.Cut(errOut, "fleetssh: "); got != test.failure {
				t.Errorf("failures:\n%swant:\n%s", got, test.failure)
			}
		})
	}
}

// Failures beyond the limit are shown as they come.
func TestCopyFoldIsBounded(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	screen := termline.New(&out, &errOut)
	hosts := []selection.Host{{Label: "n1"}, {Label: "n2"}}
	v := CopyView{View: View{Screen: screen, Summary: results.New(hosts)}, flags: &CopyFlags{}, Batches: []int{2}}
	d := newCopyText(v)
	const path = 300
	for i := range 2 * maxHeldFailures / path {
		err := &fleetssh.CopyError{Op: fleetssh.OpCreate, Path: fmt.Sprintf("/%0*d", path, i), Err: fs.ErrPermission}
		d.Progress(fleetssh.CopyProgress{Index: i % 2, Path: err.Path, Ended: true, Err: err})
	}
	screen.Flush()
	if n := errOut.Len(); n < maxHeldFailures/2 || n > 3*maxHeldFailures/2 {
		t.Errorf("%d bytes were shown before the end, want about %d", n, maxHeldFailures)
	}
}
