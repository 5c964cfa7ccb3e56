package hostset

import (
	"iter"
	"strings"
)

// maxAxes is how many numbers of a name can become ranges. Further numbers are treated as text, so
// that no name makes folding slow.
const maxAxes = 8

// fold returns an expression for names, which must be in order.
func fold(names []string) string {
	var out []byte
	for _, s := range shapesOf(names) {
		if len(out) > 0 {
			out = append(out, ',')
		}
		out = s.append(out)
	}
	return string(out)
}

// A shape is the common part of names that differ only in their numbers.
type shape struct {
	first  string   // the first of the names
	texts  []string // before, between and after the numbers
	points []number // len(texts)-1 numbers for each name
}

// shapesOf returns the shapes of names, in the order of their first names.
func shapesOf(names []string) []*shape {
	var shapes []*shape
	byKey := make(map[string]*shape)
	var key []byte
	for _, name := range names {
		key = appendKey(key[:0], name)
		s := byKey[string(key)]
		if s == nil {
			s = newShape(name)
			byKey[string(key)] = s
			shapes = append(shapes, s)
		}
		for start, end := range numbersIn(name) {
			s.points = append(s.points, number{parseDigits(name[start:end]), end - start})
		}
	}
	return shapes
}

// appendKey appends the name with a zero in place of each number. numbersIn finds the zeros again,
// so names of different shapes never have the same key.
func appendKey(key []byte, name string) []byte {
	from := 0
	for start, end := range numbersIn(name) {
		key = append(key, name[from:start]...)
		key = append(key, '0')
		from = end
	}
	return append(key, name[from:]...)
}

func newShape(name string) *shape {
	s := &shape{first: name}
	from := 0
	for start, end := range numbersIn(name) {
		s.texts = append(s.texts, name[from:start])
		from = end
	}
	s.texts = append(s.texts, name[from:])
	return s
}

// numbersIn yields where the numbers of a name start and end. Digits in brackets belong to an
// address, and numbers of more than maxDigits digits are text.
func numbersIn(name string) iter.Seq2[int, int] {
	return func(yield func(start, end int) bool) {
		axes := 0
		for i := 0; i < len(name) && axes < maxAxes; {
			switch {
			case name[i] == '[':
				length := strings.IndexByte(name[i:], ']')
				if length < 0 {
					return
				}
				i += length
			case isDigit(name[i]):
				digits, _ := cutDigits(name[i:])
				if len(digits) <= maxDigits {
					if !yield(i, i+len(digits)) {
						return
					}
					axes++
				}
				i += len(digits)
			default:
				i++
			}
		}
	}
}

// append appends the expression for the names of the shape.
func (s *shape) append(dst []byte) []byte {
	axes := len(s.texts) - 1
	if len(s.points) == axes {
		return append(dst, s.first...)
	}
	forward, backward := make([]int, axes), make([]int, axes)
	for i := range axes {
		forward[i], backward[axes-1-i] = i, i
	}
	best := s.appendFolded(nil, backward)
	if axes > 1 {
		if other := s.appendFolded(nil, forward); len(other) < len(best) {
			best = other
		}
	}
	return append(dst, best...)
}

// appendFolded appends the expression that results from merging along the axes in the given order.
func (s *shape) appendFolded(dst []byte, order []int) []byte {
	t := newTable(s.points, len(order))
	t.fold(order)
	for row := range t.rows() {
		if row > 0 {
			dst = append(dst, ',')
		}
		for axis, text := range s.texts {
			dst = append(dst, text...)
			if axis < t.axes {
				dst = t.appendCell(dst, row, axis)
			}
		}
	}
	return dst
}
