package hostset

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is a set as a map, with obviously correct operations.
type model map[string]bool

func modelOf(names []string) model {
	m := make(model)
	for _, name := range names {
		m[name] = true
	}
	return m
}

func (m model) apply(op byte, other model) model {
	out := make(model)
	all := maps.Clone(m)
	maps.Copy(all, other)
	for name := range all {
		in, also := m[name], other[name]
		keep := map[byte]bool{',': in || also, '!': in && !also, '&': in && also, '^': in != also}
		if keep[op] {
			out[name] = true
		}
	}
	return out
}

// check fails if s differs from the model or is not in order.
func (m model) check(t *rapid.T, s Set) {
	names := s.Names()
	if s.Len() != len(m) || !maps.Equal(modelOf(names), m) {
		t.Fatalf("got %q, want %q", names, slices.Sorted(maps.Keys(m)))
	}
	if !slices.IsSortedFunc(names, compareNatural) {
		t.Fatalf("%q is not in order", names)
	}
	for name := range m {
		if !s.Contains(name) {
			t.Fatalf("%q does not contain %q", names, name)
		}
	}
}

// The generators use few texts and numbers, so that names repeat and ranges touch. A generator
// stores its own name without a lock when it is first used, so tests that share generators must
// not run in parallel.
var (
	genDigits = rapid.StringMatching(`0{0,2}([0-9]|9[89]|10[0-2])`)
	genName   = rapid.Custom(func(t *rapid.T) string {
		user := rapid.SampledFrom([]string{"", "", "u@", "u2@"}).Draw(t, "user")
		host := rapid.SampledFrom([]string{"n", "r", "[::1]", "[fe80::2%e0]", "n-"}).Draw(t, "host")
		port := rapid.SampledFrom([]string{"", ":"}).Draw(t, "colon")
		if host[0] != '[' {
			host += genDigits.Draw(t, "first")
			if rapid.Bool().Draw(t, "more") {
				host += "n" + genDigits.Draw(t, "second")
			}
		}
		if port != "" {
			port += genDigits.Draw(t, "port")
		}
		return user + host + port
	})
	genNames = rapid.SliceOfN(genName, 0, 40)
)

func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := genNames.Draw(t, "names")
		s := Of(names...)
		modelOf(names).check(t, s)
		again, err := Parse(s.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		modelOf(names).check(t, again)
		if s.String() != again.String() {
			t.Fatalf("%s is folded again to %s", s, again)
		}
	})
}

func TestAlgebraProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genNames.Draw(t, "a"), genNames.Draw(t, "b")
		s, u := Of(a...), Of(b...)
		m, n := modelOf(a), modelOf(b)
		m.apply(',', n).check(t, s.Union(u))
		m.apply('!', n).check(t, s.Difference(u))
		m.apply('&', n).check(t, s.Intersect(u))
		m.apply('^', n).check(t, s.SymmetricDifference(u))
		m.check(t, s)
		n.check(t, u)
	})
}

func TestExpressionProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var expr strings.Builder
		want := make(model)
		for i := range rapid.IntRange(0, 8).Draw(t, "terms") {
			op := byte(',')
			if i > 0 {
				op = rapid.SampledFrom([]byte(operators)).Draw(t, "op")
				expr.WriteString(rapid.SampledFrom([]string{"", " "}).Draw(t, "space"))
				expr.WriteByte(op)
			}
			name := genName.Draw(t, "name")
			expr.WriteString(name)
			want = want.apply(op, model{name: true})
		}
		s, err := Parse(expr.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		want.check(t, s)
	})
}

func TestSplitProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Of(genNames.Draw(t, "names")...)
		n := rapid.IntRange(1, 50).Draw(t, "n")
		var names []string
		parts := s.Split(n)
		for i, part := range parts {
			names = append(names, part.Names()...)
			if part.Len() < 1 || parts[0].Len()-part.Len() > 1 || i > 0 && parts[i-1].Len() < part.Len() {
				t.Fatalf("part %d of %d has %d names, the first %d", i, len(parts), part.Len(), parts[0].Len())
			}
		}
		if len(parts) != min(n, s.Len()) || !slices.Equal(names, s.Names()) {
			t.Fatalf("%d parts hold %q", len(parts), names)
		}
	})
}
