// Package nearest finds the known names that a mistyped name may mean.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxNames = 3   // that are suggested
	maxName  = 100 // bytes of a name: comparing takes time proportional to the square
)

// Names returns up to three of the known names that are most similar to name: with the smallest edit
// distance, unless that is more than a third of the name, or else those that begin with it. The case
// of letters does not count.
func Names(name string, known []string) []string {
	if name == "" || len(name) > maxName {
		return nil
	}
	lower := strings.ToLower(name)
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	limit := max(len(name)/3, 1)
	for _, k := range known {
		if d := len(k) - len(name); k == name || d > limit || d < -limit {
			continue
		}
		if d := distance(lower, strings.ToLower(k)); d <= limit && d < len(name) {
			near = append(near, candidate{k, d})
		}
	}
	if len(near) == 0 && len(name) > 1 {
		for _, k := range known {
			if len(k) > len(name) && strings.HasPrefix(strings.ToLower(k), lower) {
				near = append(near, candidate{k, 0})
			}
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range near {
		if len(names) < maxNames && c.distance == near[0].distance && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// Hint returns "did you mean a or b?". It returns "" if there are no names.
func Hint(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "did you mean " + strings.Join(names, " or ") + "?"
}

// distance returns the least number of bytes to insert, delete, replace or swap with their neighbour
// that turns a into b (Damerau-Levenshtein).
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
