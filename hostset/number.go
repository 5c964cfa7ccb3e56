package hostset

import (
	"cmp"
	"strconv"
)

// A number is a number within a name. 7, 07 and 007 are different numbers.
type number struct {
	value  uint64
	digits int
}

func (n number) padded() bool { return isPadded(n.value, n.digits) }

// isPadded reports whether a number written with that many digits has leading zeros.
func isPadded(value uint64, digits int) bool {
	least := uint64(1) // the least number that needs all digits
	for range digits - 1 {
		least *= 10
	}
	return digits > 1 && value < least
}

func compareNumbers(a, b number) int {
	return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.digits, b.digits))
}

// appendRanges appends numbers, which must be in order, as the contents of a bracket:
// "1-3,7,09-10". A range of padded numbers does not continue with a wider number: [Parse] would
// read [08-100] as 08 to 100, but other programs would not.
func appendRanges(dst []byte, numbers []number) []byte {
	type run struct{ first, last number }
	var runs []run
	var latest [maxDigits + 1]int // by the digits of the last number: 1 + index in runs
	// extend adds n to the latest run whose last number has that many digits, if it continues the
	// run.
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

// appendPadded appends value with at least that many digits.
func appendPadded(dst []byte, value uint64, digits int) []byte {
	var buf [20]byte
	text := strconv.AppendUint(buf[:0], value, 10)
	for range digits - len(text) {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}
