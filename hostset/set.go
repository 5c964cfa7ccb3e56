package hostset

import (
	"iter"
	"math/rand/v2"
	"slices"
)

// Set is a set of host names in natural order. It is immutable and may be used by multiple
// goroutines at once. The zero value is the empty set.
type Set struct {
	names []string // in natural order, each once
}

// Of returns the set of the given names. It does not parse them and has no limits: any text is a
// name, even one that no expression can denote. Duplicates and empty names are left out.
func Of(names ...string) Set {
	kept := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	return Set{inOrder(kept)}
}

// All returns an iterator over the names in natural order.
func (s Set) All() iter.Seq[string] { return slices.Values(s.names) }

// Names returns the names in natural order. The caller may modify the slice.
func (s Set) Names() []string { return slices.Clone(s.names) }

// Len returns the number of names.
func (s Set) Len() int { return len(s.names) }

// Contains reports whether name is in the set.
func (s Set) Contains(name string) bool {
	_, found := slices.BinarySearchFunc(s.names, name, compareNatural)
	return found
}

// Index returns the position of name in the order of the set, from 0, or -1 if name is not in the
// set.
func (s Set) Index(name string) int {
	if i, found := slices.BinarySearchFunc(s.names, name, compareNatural); found {
		return i
	}
	return -1
}

// First returns the first n names, or all names if there are fewer. If n is less than 1, it
// returns the empty set.
func (s Set) First(n int) Set {
	n = min(max(n, 0), len(s.names))
	return Set{s.names[:n:n]}
}

// Pick returns n names chosen at random, or all names if there are fewer. If n is less than 1, it
// returns the empty set. All subsets of n names are equally likely. The same state of random
// yields the same names. random is not used concurrently.
func (s Set) Pick(n int, random *rand.Rand) Set {
	n = min(max(n, 0), len(s.names))
	picked := make([]string, 0, n)
	// Selection sampling: a name is picked with the probability (picks missing) / (names left).
	for i := 0; len(picked) < n; i++ {
		if random.IntN(len(s.names)-i) < n-len(picked) {
			picked = append(picked, s.names[i])
		}
	}
	return Set{picked}
}

// Union returns the names that are in s, in t or in both.
func (s Set) Union(t Set) Set { return Set{merge(s.names, t.names, onlyLeft|inBoth|onlyRight)} }

// Intersect returns the names that are in both s and t.
func (s Set) Intersect(t Set) Set { return Set{merge(s.names, t.names, inBoth)} }

// Difference returns the names of s that are not in t.
func (s Set) Difference(t Set) Set { return Set{merge(s.names, t.names, onlyLeft)} }

// SymmetricDifference returns the names that are in s or in t but not in both.
func (s Set) SymmetricDifference(t Set) Set {
	return Set{merge(s.names, t.names, onlyLeft|onlyRight)}
}

// Split cuts the set, in its order, into n sets. Their sizes differ by at most one, and the larger
// sets come first. No set is empty: if there are fewer than n names, there are fewer sets. If n is
// less than 1, Split returns nil.
func (s Set) Split(n int) []Set {
	n = min(n, len(s.names))
	if n < 1 {
		return nil
	}
	parts := make([]Set, n)
	size, larger := len(s.names)/n, len(s.names)%n
	rest := s.names
	for i := range parts {
		end := size
		if i < larger {
			end++
		}
		parts[i].names, rest = rest[:end], rest[end:]
	}
	return parts
}

// String returns a short expression for the set, such as "web[01-20],db1". Names that differ only
// in their first eight numbers are combined into ranges without steps. The expression is the
// shortest possible if the names differ in one number; for more, finding the shortest would take
// too long.
//
// [Parse] returns an equal set for the expression of every set that Parse has returned, and of
// every set from [Of] that is within the limits of Parse and whose names Parse reads as single
// names. Other names, such as "a,b" or "web[1-2]", are not quoted: Parse reads them as something
// else, or not at all.
func (s Set) String() string { return fold(s.names) }

// sides says which names merge keeps.
type sides int

const (
	onlyLeft sides = 1 << iota
	inBoth
	onlyRight
)

// merge merges two slices that are in order, and returns the names that keep selects, in order.
func merge(left, right []string, keep sides) []string {
	var out []string
	take := func(name string, side sides) {
		if keep&side != 0 {
			out = append(out, name)
		}
	}
	for len(left) > 0 && len(right) > 0 {
		switch c := compareNatural(left[0], right[0]); {
		case c < 0:
			take(left[0], onlyLeft)
			left = left[1:]
		case c > 0:
			take(right[0], onlyRight)
			right = right[1:]
		default:
			take(left[0], inBoth)
			left, right = left[1:], right[1:]
		}
	}
	if keep&onlyLeft != 0 {
		out = append(out, left...)
	}
	if keep&onlyRight != 0 {
		out = append(out, right...)
	}
	return out
}
