package hostset

import (
	"encoding/binary"
	"slices"
)

// A table holds points in rows. A row has a set of numbers for each axis and stands for all
// combinations of its numbers. No point is in two rows.
type table struct {
	axes  int
	cells []int32 // row by row, indexes into sets

	sets   [][]number
	byText map[string]int32 // indexes of merged sets, by their ranges as text
}

// newTable returns a table with a row for each point.
func newTable(points []number, axes int) *table {
	t := &table{axes: axes, cells: make([]int32, len(points)), byText: make(map[string]int32)}
	index := make(map[number]int32)
	for i, n := range points {
		id, ok := index[n]
		if !ok {
			id = int32(len(t.sets))
			index[n] = id
			t.sets = append(t.sets, points[i:i+1:i+1])
		}
		t.cells[i] = id
	}
	return t
}

func (t *table) rows() int { return len(t.cells) / t.axes }

func (t *table) row(i int) []int32 { return t.cells[i*t.axes : (i+1)*t.axes] }

// fold merges rows along the axes in the given order until nothing more can be merged, at most
// maxRounds times: later rounds gain little.
func (t *table) fold(order []int) {
	const maxRounds = 8
	for range maxRounds {
		before := t.rows()
		for _, axis := range order {
			if t.rows() > 1 {
				t.merge(axis)
			}
		}
		if t.rows() == before {
			return
		}
	}
}

// merge combines rows that differ along one axis only.
func (t *table) merge(axis int) {
	groups := t.groups(axis)
	if len(groups) == t.rows() {
		return
	}
	cells := make([]int32, 0, len(groups)*t.axes)
	for _, rows := range groups {
		cells = append(cells, t.row(int(rows[0]))...)
		if len(rows) > 1 {
			cells[len(cells)-t.axes+axis] = t.union(rows, axis)
		}
	}
	t.cells = cells
}

// groups returns the indexes of rows that are equal on all other axes, in the order of the first
// row of each group.
func (t *table) groups(axis int) [][]int32 {
	groupOf := make([]int32, t.rows())
	var sizes []int
	byKey := make(map[string]int32)
	var key []byte
	for i := range groupOf {
		key = key[:0]
		for other, id := range t.row(i) {
			if other != axis {
				key = binary.LittleEndian.AppendUint32(key, uint32(id))
			}
		}
		group, ok := byKey[string(key)]
		if !ok {
			group = int32(len(sizes))
			byKey[string(key)] = group
			sizes = append(sizes, 0)
		}
		groupOf[i] = group
		sizes[group]++
	}
	// All groups share one allocation.
	shared := make([]int32, len(groupOf))
	groups := make([][]int32, len(sizes))
	for i, size := range sizes {
		groups[i], shared = shared[:0:size], shared[size:]
	}
	for i, group := range groupOf {
		groups[group] = append(groups[group], int32(i))
	}
	return groups
}

// union returns the index of the set of all numbers that the rows have on one axis.
func (t *table) union(rows []int32, axis int) int32 {
	var numbers []number
	for _, row := range rows {
		numbers = append(numbers, t.sets[t.row(int(row))[axis]]...)
	}
	if !slices.IsSortedFunc(numbers, compareNumbers) {
		slices.SortFunc(numbers, compareNumbers)
	}
	text := string(appendRanges(nil, numbers))
	id, ok := t.byText[text]
	if !ok {
		id = int32(len(t.sets))
		t.sets = append(t.sets, numbers)
		t.byText[text] = id
	}
	return id
}

// appendCell appends the numbers of a cell: one number, or ranges in brackets.
func (t *table) appendCell(dst []byte, row, axis int) []byte {
	numbers := t.sets[t.row(row)[axis]]
	if len(numbers) == 1 {
		return appendPadded(dst, numbers[0].value, numbers[0].digits)
	}
	dst = append(dst, '[')
	dst = appendRanges(dst, numbers)
	return append(dst, ']')
}
