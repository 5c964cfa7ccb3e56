package hostset

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestZeroSet(t *testing.T) {
	t.Parallel()
	var s Set
	if s.Len() != 0 || s.String() != "" || len(s.Names()) != 0 || s.Contains("") || s.Split(3) != nil {
		t.Errorf("the zero set is not empty: %q", s.Names())
	}
	if got := s.Union(Of("a")).Difference(s).String(); got != "a" {
		t.Errorf("computing with the zero set gives %q, want a", got)
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	given := []string{"web10", "web2", "", "a,b", "web2", "web[1-2]", "web02"}
	before := slices.Clone(given)
	s := Of(given...)
	want := []string{"a,b", "web2", "web02", "web10", "web[1-2]"}
	if got := s.Names(); !slices.Equal(got, want) {
		t.Errorf("Of gives %q, want %q", got, want)
	}
	if !slices.Equal(given, before) {
		t.Errorf("Of changed its argument to %q", given)
	}
	s.Names()[0] = "changed"
	if got := slices.Collect(s.All()); !slices.Equal(got, want) {
		t.Errorf("a change to Names made the set %q", got)
	}
}

func TestContains(t *testing.T) {
	t.Parallel()
	s := mustParse(t, "web[1-20],db01")
	for name, want := range map[string]bool{
		"web1": true, "web20": true, "db01": true,
		"web01": false, "web21": false, "db1": false, "": false, "web[1-20]": false,
	} {
		if got := s.Contains(name); got != want {
			t.Errorf("Contains(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		expr string
		n    int
		want []string
	}{
		{"even", "n[1-4]", 2, []string{"n[1-2]", "n[3-4]"}},
		{"larger ones first", "n[1-8]", 3, []string{"n[1-3]", "n[4-6]", "n[7-8]"}},
		{"fewer names than sets", "n[1-2]", 5, []string{"n1", "n2"}},
		{"one", "n[1-3]", 1, []string{"n[1-3]"}},
		{"none", "n[1-3]", 0, nil},
		{"negative", "n[1-3]", -1, nil},
		{"empty set", "", 2, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, part := range mustParse(t, tt.expr).Split(tt.n) {
				got = append(got, part.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Split(%d) of %q = %q, want %q", tt.n, tt.expr, got, tt.want)
			}
		})
	}
}

func TestIndexAndFirst(t *testing.T) {
	t.Parallel()
	s := mustParse(t, "web[2-11],db1")
	for name, want := range map[string]int{"db1": 0, "web2": 1, "web11": 10, "web1": -1, "": -1} {
		if got := s.Index(name); got != want {
			t.Errorf("Index(%q) = %d, want %d", name, got, want)
		}
	}
	for n, want := range map[int]string{-1: "", 0: "", 1: "db1", 3: "db1,web[2-3]", 11: s.String(), 99: s.String()} {
		if got := s.First(n).String(); got != want {
			t.Errorf("First(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestPick(t *testing.T) {
	t.Parallel()
	s := mustParse(t, "n[1-5]")
	random := rand.New(rand.NewPCG(3, 4))
	for n, want := range map[int]int{-1: 0, 0: 0, 2: 2, 5: 5, 9: 5} {
		picked := s.Pick(n, random)
		if picked.Len() != want || picked.Difference(s).Len() != 0 || !slices.IsSortedFunc(picked.Names(), compareNatural) {
			t.Errorf("Pick(%d) of %s = %s", n, s, picked)
		}
	}
	// All ten pairs are equally likely: about 1,000 of 10,000 each.
	times := make(map[string]int)
	for range 10_000 {
		times[s.Pick(2, random).String()]++
	}
	for pair, n := range times {
		if len(times) != 10 || n < 850 || n > 1150 {
			t.Errorf("%s is picked %d times, of %d pairs", pair, n, len(times))
		}
	}
}

func TestNaturalOrder(t *testing.T) {
	t.Parallel()
	ordered := []string{
		"", "1", "01", "2", "10", "18446744073709551616", "a", "a-1", "a1", "a1b1", "a01b2", "a2",
		"a10", "a10b", "ab", "é1",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			got := compareNatural(a, b)
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("compareNatural(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func mustParse(tb testing.TB, expr string) Set {
	tb.Helper()
	s, err := Parse(expr, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
