package hostset

import (
	"cmp"
	"slices"
	"strings"
)

// inOrder sorts names in place and returns them without duplicates.
func inOrder(names []string) []string {
	// The names of an expression are usually in order already.
	if !slices.IsSortedFunc(names, compareNatural) {
		slices.SortFunc(names, compareNatural)
	}
	return slices.Compact(names)
}

// compareNatural compares numbers within names by value and everything else by bytes. If names
// differ only in leading zeros, the shorter is less, so only equal names compare as equal.
func compareNatural(a, b string) int {
	i := commonPrefix(a, b)
	// Go back to the start of a number whose first digits are equal, to compare it as a whole.
	for i > 0 && isDigit(a[i-1]) {
		i--
	}
	x, y := a[i:], b[i:]
	for x != "" && y != "" {
		if isDigit(x[0]) && isDigit(y[0]) {
			var m, n string
			m, x = cutDigits(x)
			n, y = cutDigits(y)
			if c := compareDigits(m, n); c != 0 {
				return c
			}
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(
		cmp.Compare(len(x), len(y)),
		cmp.Compare(len(a), len(b)),
		strings.Compare(a, b),
	)
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// compareDigits compares numbers of any length by value.
func compareDigits(m, n string) int {
	m, n = strings.TrimLeft(m, "0"), strings.TrimLeft(n, "0")
	return cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n))
}

// cutDigits returns the digits at the beginning of s, and the rest.
func cutDigits(s string) (digits, rest string) {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
