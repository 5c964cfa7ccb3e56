package inventory

import (
	"cmp"
	"slices"
)

// nearest returns up to three of the known names that are most similar to name. It returns none if
// no name is similar enough.
func nearest(name string, known []string) []string {
	const shown, longest = 3, 100
	type candidate struct {
		name     string
		distance int
	}
	limit := max(2, len(name)/4)
	if len(name) > longest {
		return nil
	}
	var near []candidate
	for _, k := range known {
		if d := len(k) - len(name); d > limit || d < -limit {
			continue
		}
		if d := distance(name, k); d <= limit && d < len(name) {
			near = append(near, candidate{k, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range near[:min(len(near), shown)] {
		if c.distance == near[0].distance {
			names = append(names, c.name)
		}
	}
	return names
}

// distance returns the least number of bytes to insert, delete, replace or swap with their
// neighbour that turns a into b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, now := rows[0], rows[1], rows[2]
		now[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			now[j] = min(last[j]+1, now[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		rows = [3][]int{last, now, before}
	}
	return rows[1][len(b)]
}
