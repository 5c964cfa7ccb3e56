//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is a Markdown table with aligned columns.
type table struct {
	title  string
	header []string
	rows   [][]string
}

func newTable(title string, header ...string) *table { return &table{title: title, header: header} }

// row adds a row. Missing cells are empty.
func (t *table) row(cells ...string) {
	for len(cells) < len(t.header) {
		cells = append(cells, "")
	}
	t.rows = append(t.rows, cells)
}

// print writes the table.
func (t *table) print(w io.Writer) {
	width := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(cells []string) {
		var b strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString("| " + cell + pad)
			} else {
				b.WriteString(" | " + pad + cell)
			}
		}
		fmt.Fprintln(w, b.String()+" |")
	}
	fmt.Fprintf(w, "\n### %s\n\n", t.title)
	line(t.header)
	var rule strings.Builder
	for i, n := range width {
		if i == 0 {
			rule.WriteString("|:" + strings.Repeat("-", n+1))
		} else {
			rule.WriteString("|" + strings.Repeat("-", n+1) + ":")
		}
	}
	fmt.Fprintln(w, rule.String()+"|")
	for _, row := range t.rows {
		line(row)
	}
}

// goal formats a goal, and whether a figure meets it.
func goal(is, most float64, format string) string {
	verdict := "ok"
	if is > most {
		verdict = "MISSED"
	}
	return fmt.Sprintf("≤ "+format+" %s", most, verdict)
}

// times formats a ratio.
func times(r float64) string { return fmt.Sprintf("%.2f", r) }
