package hostset

import (
	"cmp"
	"strconv"
)

// A number is what stands between texts in a name. 7, 07 and 007 are three.
type number struct {
	value  uint64
	digits int
}

func (n number) padded() bool { return isPadded(n.value, n.digits) }

// isPadded reports whether a number of so many digits starts with a zero that it
// could do without.
func isPadded(value uint64, digits int) bool {
	least := uint64(1) // that needs all digits
	for range digits - 1 {
		least *= 10
	}
	return digits > 1 && value < least
}

func compareNumbers(a, b number) int {
	return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.digits, b.digits))
}

// appendRanges appends numbers that are in order as a bracket would hold them:
// "1-3,7,09-10". A range of padded numbers ends where their width does. Parse
// would go on from 99 to 100, but others would not.
func appendRanges(dst []byte, numbers []number) []byte {
	type run struct{ first, last number }
	var runs []run
	var latest [maxDigits + 1]int // by digits of the last number: 1 + index in runs
	// extend makes n part of the latest run that ends in a number of so many digits.
	extend := func(n number, digits int) bool {
		i := latest[digits] - 1
		if i < 0 || runs[i].last.value+1 != n.value {
			return false
		}
		if digits != n.digits && (runs[i].first.padded() || n.padded()) {
			return false
		}
		runs[i].last = n
		latest[n.digits] = i + 1
		return true
	}
	for _, n := range numbers {
		if !extend(n, n.digits) && !extend(n, n.digits-1) {
			runs = append(runs, run{n, n})
			latest[n.digits] = len(runs)
		}
	}
	for i, r := range runs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPadded(dst, r.first.value, r.first.digits)
		if r.first != r.last {
			dst = append(dst, '-')
			dst = appendPadded(dst, r.last.value, r.last.digits)
		}
	}
	return dst
}

// appendPadded appends value in at least so many digits.
func appendPadded(dst []byte, value uint64, digits int) []byte {
	var buf [20]byte
	text := strconv.AppendUint(buf[:0], value, 10)
	for range digits - len(text) {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}
