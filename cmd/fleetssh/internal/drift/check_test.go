package drift

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/simfleet"
)

// shownBy runs a check of a local file against hosts with these contents at "conf", and returns what is
// shown.
func shownBy(t *testing.T, local string, contents []string, change func(int, *simfleet.Host)) (shown string, servers []*simfleet.Server) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(name, []byte(local), 0o644); err != nil {
		t.Fatal(err)
	}
	fleet, err := simfleet.StartFleet(len(contents), 0, func(i int, h *simfleet.Host) {
		if h.Password = "secret"; change != nil {
			change(i, h)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fleet.Close() })
	client := &fleetssh.ParallelClient{OneShot: true}
	t.Cleanup(func() { client.Close() })
	var hosts []selection.Host
	for i, s := range fleet.Servers {
		if err := s.WriteFile("/home/ann/conf", []byte(contents[i]), 0); err != nil {
			t.Fatal(err)
		}
		c := fleetssh.HostConfig{
			Host: s.Host(), Port: s.Port(), User: "ann", HostKeys: fleetssh.InsecureIgnoreHostKeys{},
			Auth: fleetssh.Auth{Password: "secret", NoAgent: true, NoDefaultKeys: true},
		}
		client.Hosts = append(client.Hosts, c)
		hosts = append(hosts, selection.Host{Config: c, Name: fmt.Sprintf("web%d", i+1), Label: fmt.Sprintf("web%d", i+1)})
	}
	c := &Check{Client: client, Diff: true, Paths: func(int) ([]string, string, error) { return []string{name}, "conf", nil }}
	if err := c.Prepare(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	screen := termline.New(&out, &out)
	s := &Shown{Screen: screen, Summary: results.New(hosts), Check: c}
	c.Run(t.Context(), func(h Host) {
		s.Summary.AddResult(c.Result(h))
		s.Add(h)
	})
	s.Close()
	screen.Flush()
	return out.String(), fleet.Servers
}

// Hosts with the same content share the difference, which one of them was asked for.
func TestDiff(t *testing.T) {
	t.Parallel()
	shown, servers := shownBy(t, "a\nb\n", []string{"a\nb\n", "a\nc\n", "a\nc\n", "a\nc\n", "\x00\x01", strings.Repeat("long\n", 20_000)}, nil)
	want := strings.Join([]string{
		"web[2-4] (3): conf: differs (sha256 fddcbe13b0ee…)",
		"--- conf on web[2-4] (3)", "+++ conf here", "@@ -1,2 +1,2 @@", " a", "-c", "+b",
		"web1: the same: 1 file",
		"web5: conf: differs (sha256 SUM…)", "  conf: not a text: no differences are shown",
		"web6: conf: differs (sha256 SUM…)", "  conf: more than 64 KiB: no differences are shown",
		"fleetssh: 5 of 6 hosts differ: web[2-6]", "",
	}, "\n")
	lines := strings.Split(shown, "\n")
	for i, line := range strings.Split(want, "\n") {
		before, after, any := strings.Cut(line, "SUM")
		if i >= len(lines) || !any && lines[i] != line && !strings.HasPrefix(line, "web[2-4] (3): ") || any && (!strings.HasPrefix(lines[i], before) || !strings.HasSuffix(lines[i], after)) {
			t.Fatalf("line %d of\n%s\nwant %s", i+1, shown, line)
		}
	}
	asked := 0
	for _, s := range servers {
		st := s.Stats()
		if st.Connections != 1 || st.Started > 2 {
			t.Errorf("%+v", st)
		}
		asked += st.Started
	}
	if asked != len(servers)+3 { // three different contents
		t.Errorf("%d commands on %d hosts", asked, len(servers))
	}
}

// The number of contents that are fetched is bounded.
func TestManyContents(t *testing.T) {
	t.Parallel()
	var contents []string
	for i := range maxContents + 5 {
		contents = append(contents, fmt.Sprintf("x = %d\n", i))
	}
	shown, _ := shownBy(t, "x\n", contents, nil)
	if n := strings.Count(shown, "--- conf on "); n != maxContents {
		t.Errorf("%d differences are shown", n)
	}
	if n := strings.Count(shown, "only the first 20 different contents are shown"); n != 5 {
		t.Errorf("%d are not", n)
	}
}

// A host that answers nonsense is not compared, and the others are.
func TestNonsense(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"nothing": "", "no first line": "f 00\n", "another sum": "as\nf \x1b[31m\n", "a long line": "as\n" + strings.Repeat("x", 100_000)} {
		shown, _ := shownBy(t, "x\n", []string{"x\n", "x\n"}, func(i int, h *simfleet.Host) {
			if i == 1 {
				h.Handler = func(s *simfleet.Session) simfleet.Status {
					fmt.Fprint(s.Stdout, answer)
					return simfleet.Status{}
				}
			}
		})
		const want = "web1: the same: 1 file\nfleetssh: 1 of 2 hosts failed\n  not started (run): web2: the answer of the host is not understood\n"
		if shown != want {
			t.Errorf("%s: %q", name, shown)
		}
	}
}
