// Package hostset reads and writes sets of host names such as "web[01-20],db1"
// and computes with them. It knows nothing of SSH.
//
// A name is any text without white space, control characters and the characters
// of the grammar, so "user@web1:2222" and "10.0.0.7" are names. An IPv6 address
// in brackets, as in "user@[2001:db8::1]:2222", is one as well.
package hostset

import (
	"iter"
	"math/rand/v2"
	"slices"
)

// Set is an ordered set of host names. It never changes once made, and its zero
// value is empty. Any number of goroutines may use it.
type Set struct {
	names []string // in natural order, each once
}

// Of returns the set of the given names, which are not parsed: any text is a
// name, also one that no expression can say. Empty names are left out.
func Of(names ...string) Set {
	kept := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	return Set{inOrder(kept)}
}

// All yields the names in natural order: web2 before web10, web1 before web01.
func (s Set) All() iter.Seq[string] { return slices.Values(s.names) }

// Names returns the names in natural order. The slice is the caller's.
func (s Set) Names() []string { return slices.Clone(s.names) }

// Len returns the number of names.
func (s Set) Len() int { return len(s.names) }

// Contains reports whether name is in the set.
func (s Set) Contains(name string) bool {
	_, found := slices.BinarySearchFunc(s.names, name, compareNatural)
	return found
}

// Index returns the place of name in the order of the set, from 0, and -1 if it is
// not in the set.
func (s Set) Index(name string) int {
	if i, found := slices.BinarySearchFunc(s.names, name, compareNatural); found {
		return i
	}
	return -1
}

// First returns the first n names, or all where there are fewer: none for an n
// below one.
func (s Set) First(n int) Set {
	n = min(max(n, 0), len(s.names))
	return Set{s.names[:n:n]}
}

// Pick returns n names chosen at random, or all where there are fewer: none for an
// n below one. Every choice of n names is as likely as any other if random is
// good; the same source gives the same names.
func (s Set) Pick(n int, random *rand.Rand) Set {
	n = min(max(n, 0), len(s.names))
	picked := make([]string, 0, n)
	// Each name in turn is needed for the picks still missing, out of the names still left.
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

// Split cuts the set, in its order, into n sets whose sizes differ by one at
// most, the larger ones first. No set is empty: where there are fewer names than
// n there are fewer sets, and none for an n below one.
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

// String returns a short expression for the set. Names that differ in their first
// eight numbers only are written with ranges, without steps. The shortest is found
// where they differ in one number; beyond that, finding it would take too long.
// No text is quoted.
//
// [Parse] reads it back as the same set, for every set that Parse has returned
// and for every set within its limits whose names it takes as single names.
// Names from [Of] that it does not take so, such as "a,b" or "web[1-2]", are
// written as they are and read as something else, or not at all.
func (s Set) String() string { return fold(s.names) }

// sides says which names a merge keeps.
type sides int

const (
	onlyLeft sides = 1 << iota
	inBoth
	onlyRight
)

// merge walks through two slices that are in order, and returns what keep asks
// for, in order.
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
