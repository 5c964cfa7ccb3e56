package fold

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func lines(t testing.TB, g Group, s Stream) []string {
	t.Helper()
	var all []string
	if err := g.Lines(s, func(l string) bool { all = append(all, l); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t testing.TB, f *Fold, host int, s Stream, text ...string) {
	t.Helper()
	for _, l := range text {
		if err := f.Line(host, s, l); err != nil {
			t.Fatal(err)
		}
	}
}

// hostsOf returns the hosts of the groups.
func hostsOf(groups []Group) string {
	var all [][]int
	for _, g := range groups {
		all = append(all, g.Hosts)
	}
	return fmt.Sprint(all)
}

// A group is complete as soon as no other host can join it, and not before.
func TestComplete(t *testing.T) {
	t.Parallel()
	f := New(5)
	defer f.Close()
	want := func(when, hosts string) {
		t.Helper()
		if got := hostsOf(f.Complete()); got != hosts {
			t.Errorf("%s: %s, want %s", when, got, hosts)
		}
	}
	write(t, f, 0, Stdout, "a", "b")
	write(t, f, 1, Stdout, "a")
	f.End(0, "0")
	want("host 1 may still write b, the others anything", "[]")
	write(t, f, 2, Stdout, "x")
	write(t, f, 3, Stdout, "x")
	write(t, f, 4, Stdout, "x")
	want("host 1 may still write b", "[]")
	write(t, f, 1, Stdout, "c")
	want("host 1 wrote c instead", "[[0]]")
	f.End(2, "0")
	f.End(3, "0")
	want("host 4 may still end with 0", "[]")
	f.End(4, "1")
	want("host 4 ended with 1", "[[2 3] [4]]")
	f.End(1, "0")
	want("the last host ended", "[[1]]")
	want("after the last group", "[]")
}

func TestStreams(t *testing.T) {
	t.Parallel()
	f := New(4)
	defer f.Close()
	write(t, f, 0, Stdout, "out")
	write(t, f, 0, Stderr, "err")
	write(t, f, 1, Stderr, "err") // the order of the streams does not count
	write(t, f, 1, Stdout, "out")
	write(t, f, 2, Stdout, "out", "err")
	for i := range 4 {
		f.End(i, "")
	}
	groups := f.Complete()
	if hostsOf(groups) != "[[0 1] [2] [3]]" {
		t.Fatal(hostsOf(groups))
	}
	if got := lines(t, groups[0], Stderr); !slices.Equal(got, []string{"err"}) {
		t.Errorf("%q", got)
	}
	if groups[0].Empty() || !groups[2].Empty() {
		t.Error("Empty: want true for group 2 only, of 0 and 2")
	}
}

// Whatever hosts write in whatever order, each host is in exactly one group, the group has what the
// host wrote, and it is returned as soon as it is complete.
func TestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "hosts")
		f := New(n)
		f.lines.limit = int64(rapid.IntRange(0, 20).Draw(t, "memory"))
		f.lines.unit = rapid.IntRange(1, 20).Draw(t, "block")
		defer f.Close()
		wrote := make([][2][]string, n)
		status := make([]string, n)
		left := make([]int, n)
		for i := range left {
			left[i] = i
		}
		group := make(map[int]string) // the content of each host's group
		grouped := 0                  // hosts in a group
		content := func(g Group) string {
			var all []string
			for s := range 2 {
				err := g.Lines(Stream(s), func(l string) bool { all = append(all, l); return true })
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, "|")
			}
			return strings.Join(append(all, g.Status), ",")
		}
		for len(left) > 0 {
			k := rapid.IntRange(0, len(left)-1).Draw(t, "which")
			i := left[k]
			if rapid.IntRange(0, 3).Draw(t, "what") > 0 {
				s := rapid.IntRange(0, 1).Draw(t, "stream")
				l := rapid.SampledFrom([]string{"", "a", "b", "a longer line"}).Draw(t, "line")
				if err := f.Line(i, Stream(s), l); err != nil {
					t.Fatal(err)
				}
				wrote[i][s] = append(wrote[i][s], l)
			} else {
				status[i] = rapid.SampledFrom([]string{"0", "1"}).Draw(t, "status")
				f.End(i, status[i])
				left = slices.Delete(left, k, k+1)
			}
			for _, g := range f.Complete() {
				for _, h := range g.Hosts {
					if group[h] != "" {
						t.Fatalf("host %d is in two groups", h)
					}
					group[h] = content(g)
				}
				grouped += len(g.Hosts)
				for _, other := range group {
					if same := other == content(g); same && !slices.ContainsFunc(g.Hosts, func(h int) bool { return group[h] == other }) {
						t.Fatal("two groups with the same content")
					}
				}
			}
			if want := inCompleteGroups(wrote, left); grouped != want {
				t.Fatalf("%d hosts are in groups, want %d: %q, still writing: %v", grouped, want, wrote, left)
			}
		}
		for i := range n {
			want := strings.Join(slices.Concat(wrote[i][0], []string{"|"}, wrote[i][1], []string{"|"}, status[i:i+1]), ",")
			if group[i] != want {
				t.Fatalf("the group of host %d has %q, the host wrote %q", i, group[i], want)
			}
		}
	})
}

// inCompleteGroups returns how many hosts have ended and cannot be joined by a host that is still
// writing: on one of the streams, no such host has written a prefix of their lines.
func inCompleteGroups(wrote [][2][]string, writing []int) int {
	n := 0
	for i := range wrote {
		if slices.Contains(writing, i) {
			continue
		}
		open := func(s int) bool {
			return slices.ContainsFunc(writing, func(k int) bool {
				prefix := wrote[k][s]
				return len(prefix) <= len(wrote[i][s]) && slices.Equal(prefix, wrote[i][s][:len(prefix)])
			})
		}
		if !open(0) || !open(1) {
			n++
		}
	}
	return n
}

// Hosts that write the same lines share one segment at any pace, so that the cost of a line does
// not depend on how far its host is behind the others.
func TestPace(t *testing.T) {
	t.Parallel()
	const hosts, n = 4, 300_000
	f := New(hosts)
	defer f.Close()
	for i := range hosts {
		for k := range n {
			write(t, f, i, Stdout, strconv.Itoa(k))
		}
		write(t, f, i, Stdout, "host "+strconv.Itoa(i))
		f.End(i, "")
		want := 0 // the others have written nothing, and may write the same
		if i == hosts-1 {
			want = hosts
		}
		if got := len(f.Complete()); got != want {
			t.Fatalf("%d groups after host %d, want %d", got, i, want)
		}
	}
}

// A thousand hosts write prefixes of the same lines, each of another length, and split the segment
// at as many places.
func TestStaircase(t *testing.T) {
	t.Parallel()
	const hosts = 1000
	f := New(hosts)
	defer f.Close()
	for i := hosts - 1; i >= 0; i-- { // the longest is first
		for k := range i {
			write(t, f, i, Stdout, strconv.Itoa(k))
		}
	}
	for i := range hosts {
		f.End(i, "")
		if got := hostsOf(f.Complete()); got != fmt.Sprintf("[[%d]]", i) {
			t.Fatalf("after host %d: %s", i, got)
		}
	}
}

// Five thousand hosts that write the same 100 KiB use less than 8 MiB of memory.
func TestMemory(t *testing.T) {
	const hosts, size = 5000, 100 << 10
	before := heap()
	f := New(hosts)
	defer f.Close()
	for range size / 1024 {
		l := fmt.Sprintf("%01024d", rand.Uint64())
		for i := range hosts {
			write(t, f, i, Stdout, l)
		}
	}
	if used := heap() - before; used > 8<<20 {
		t.Errorf("%d KiB used", used>>10)
	}
	for i := range hosts {
		f.End(i, "0")
	}
	if groups := f.Complete(); len(groups) != 1 || len(groups[0].Hosts) != hosts {
		t.Error(hostsOf(groups))
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Lines beyond the memory limit are written to a file, and read back.
func TestSpill(t *testing.T) {
	t.Parallel()
	f := New(100)
	f.lines.limit, f.lines.unit = 10<<10, 1<<10
	for i := range 100 {
		for k := range 50 {
			write(t, f, i, Stdout, fmt.Sprintf("host %d line %d", i%50, k))
		}
		f.End(i, "")
	}
	if f.lines.size == 0 {
		t.Error("nothing was written to the file")
	}
	groups := f.Complete()
	if len(groups) != 50 {
		t.Fatalf("%d groups", len(groups))
	}
	for _, g := range groups {
		if got := lines(t, g, Stdout); len(got) != 50 || got[49] != fmt.Sprintf("host %d line 49", g.Hosts[0]) {
			t.Errorf("%v: %q", g.Hosts, got)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkPace has three hosts write the same lines, one host after the other. The time per line
// must not grow with the number of lines.
func BenchmarkPace(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				f := New(3)
				for i := range 3 {
					for k := range n {
						write(b, f, i, Stdout, strconv.Itoa(k))
					}
					f.End(i, "")
				}
				f.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(3*n), "ns/line")
		})
	}
}

func BenchmarkLine(b *testing.B) {
	f := New(1000)
	defer f.Close()
	for i := 0; b.Loop(); i++ {
		if err := f.Line(i%1000, Stdout, fmt.Sprint("line ", i/1000)); err != nil {
			b.Fatal(err)
		}
	}
}

// Groups and the output of a host can be read while hosts still write.
func TestReadingMeanwhile(t *testing.T) {
	t.Parallel()
	f := New(4)
	defer f.Close()
	write(t, f, 0, Stdout, "a", "b")
	write(t, f, 1, Stdout, "a", "b", "c")
	write(t, f, 2, Stdout, "a")
	write(t, f, 3, Stderr, "e")
	check := func(host int, s Stream, want ...string) {
		t.Helper()
		var got []string
		if err := f.HostLines(host, s, func(l string) bool { got = append(got, l); return true }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("host %d: %v, want %v", host, got, want)
		}
	}
	check(0, Stdout, "a", "b")
	check(1, Stdout, "a", "b", "c")
	check(2, Stdout, "a")
	check(2, Stderr)
	check(3, Stderr, "e")
	f.End(1, "")
	f.End(0, "")
	if got := hostsOf(f.Groups()); got != "[[0] [1]]" {
		t.Errorf("groups %s", got)
	}
	write(t, f, 2, Stdout, "x") // splits what host 1 wrote
	check(1, Stdout, "a", "b", "c")
	check(0, Stdout, "a", "b")
	write(t, f, 3, Stdout, "a", "b")
	f.End(2, "")
	f.End(3, "failed")
	if got := hostsOf(f.Groups()); got != "[[0] [1] [2] [3]]" {
		t.Errorf("groups %s", got)
	}
	if got := f.Groups()[3].Status; got != "failed" {
		t.Errorf("status %q", got)
	}
	var first []string
	f.HostLines(1, Stdout, func(l string) bool { first = append(first, l); return false })
	if !slices.Equal(first, []string{"a"}) {
		t.Errorf("after the first line: %v", first)
	}
}
