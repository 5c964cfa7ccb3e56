package fullscreen

import (
	"strings"

	"github.com/clipperhouse/displaywidth"

	"fleetssh/cmd/fleetssh/internal/fold"
)

// style is how a piece of text looks.
type style int

// The styles.
const (
	plain style = iota
	dim
	heading
	success
	failure
	active
	label
	cursor
)

// codes are the SGR parameters (ECMA-48, section 8.3.117) of the styles: colours of the terminal's own
// palette, which suit dark and light backgrounds.
var codes = [...]string{plain: "", dim: "2", heading: "1", success: "32", failure: "31", active: "33", label: "36", cursor: "7"}

// paint returns text in a style. The terminal shows colours only if it may.
func paint(s style, text string) string {
	if s == plain || text == "" {
		return text
	}
	return "\x1b[" + codes[s] + "m" + text + "\x1b[m"
}

// streamStyle is the style of a line of a stream.
func streamStyle(s fold.Stream) style {
	if s == fold.Stderr {
		return failure
	}
	return plain
}

// diffStyle is the style of a line of a diff.
func diffStyle(text string) style {
	switch {
	case strings.HasPrefix(text, "---"), strings.HasPrefix(text, "+++"), strings.HasPrefix(text, "@@"):
		return heading
	case strings.HasPrefix(text, "+"):
		return success
	case strings.HasPrefix(text, "-"):
		return failure
	}
	return plain
}

// width returns how many columns text takes.
func width(text string) int { return displaywidth.String(text) }

// clip cuts text to so many columns.
func clip(text string, columns int) string {
	if columns <= 0 {
		return ""
	}
	if len(text) <= columns { // a character takes no more columns than bytes
		return text
	}
	return displaywidth.TruncateString(text, columns, "…")
}

// pad cuts or fills text to so many columns.
func pad(text string, columns int) string {
	text = clip(text, columns)
	return text + strings.Repeat(" ", max(columns-width(text), 0))
}

// wrap splits text into rows of so many columns.
func wrap(text string, columns int) []string {
	if len(text) <= columns {
		return []string{text}
	}
	var rows []string
	for text != "" {
		row := displaywidth.TruncateString(text, columns, "")
		if row == "" { // one character is wider than the screen
			break
		}
		rows = append(rows, row)
		text = text[len(row):]
	}
	return rows
}
