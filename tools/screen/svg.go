package main

import (
	"encoding/xml"
	"fmt"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// theme is the colours of a terminal.
type theme struct {
	back, text, faint string
	colors            map[ansi.BasicColor]string
}

// themes are the colours of GitHub's pages.
var themes = map[string]theme{
	"dark": {back: "#171717", text: "#e6e6e6", faint: "#8b949e", colors: map[ansi.BasicColor]string{
		ansi.Red: "#ff7b72", ansi.Green: "#3fb950", ansi.Yellow: "#d29922", ansi.Cyan: "#39c5cf",
	}},
	"light": {back: "#ffffff", text: "#1f2328", faint: "#6e7781", colors: map[ansi.BasicColor]string{
		ansi.Red: "#cf222e", ansi.Green: "#1a7f37", ansi.Yellow: "#9a6700", ansi.Cyan: "#0a7683",
	}},
}

// The sizes of a cell and of the margin, in pixels.
const (
	cellWidth, cellHeight = 8.4, 18.2
	marginX, marginY      = 24.0, 20.0
)

// svg returns a screen as a picture. Each run of cells has its place and its width, whatever fonts the
// reader has.
func svg(screen *vt.Emulator, t theme) string {
	var b strings.Builder
	width, height := 2*marginX+cellWidth*float64(screen.Width()), 2*marginY+cellHeight*float64(screen.Height())
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", t.back)
	b.WriteString(`<g font-family="monospace" font-size="14" xml:space="preserve">` + "\n")
	for y := range screen.Height() {
		for x := 0; x < screen.Width(); {
			style, text, from := screen.CellAt(x, y).Style, "", x
			for ; x < screen.Width() && screen.CellAt(x, y).Style.Equal(&style); x++ {
				text += screen.CellAt(x, y).Content // a wide character is followed by an empty cell
			}
			run(&b, t, style, text, from, y, x-from)
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// run writes cells of one style.
func run(b *strings.Builder, t theme, style uv.Style, text string, x, y, columns int) {
	fill, back := t.text, ""
	if c, ok := style.Fg.(ansi.BasicColor); ok && t.colors[c] != "" {
		fill = t.colors[c]
	}
	if style.Attrs&uv.AttrFaint != 0 {
		fill = t.faint
	}
	if style.Attrs&uv.AttrReverse != 0 {
		fill, back = t.back, fill
	}
	left, top, width := marginX+cellWidth*float64(x), marginY+cellHeight*float64(y), cellWidth*float64(columns)
	if back != "" {
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", left, top, width, cellHeight, back)
	}
	visible := strings.TrimRight(text, " ")
	if visible == "" {
		return
	}
	width -= cellWidth * float64(len(text)-len(visible))
	visible = strings.ReplaceAll(visible, " ", "\u00a0") // browsers join spaces
	weight := ""
	if style.Attrs&uv.AttrBold != 0 {
		weight = ` font-weight="bold"`
	}
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(visible)) // a strings.Builder does not fail
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs" fill="%s"%s>%s</text>`+"\n", left, top+13.5, width, fill, weight, escaped.String())
}
