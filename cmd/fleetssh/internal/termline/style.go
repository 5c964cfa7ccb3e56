package termline

import "os"

// Style is how a piece of text looks on a terminal.
type Style int

// The styles.
const (
	Plain   Style = iota // as the terminal has it
	Label                // the name of a host
	Failure              // failures
	Heading              // a heading
	Added                // in a diff
	Removed
	Faint // what matters less
)

// codes are the SGR parameters (ECMA-48, section 8.3.117) of the styles: colours of the terminal's
// own palette, which suit dark and light backgrounds.
var codes = [...]string{Plain: "", Label: "36", Failure: "31", Heading: "1", Added: "32", Removed: "31", Faint: "2"}

// Colors says when to use colours.
type Colors int

// When to use colours: if the stream is a terminal that knows them and NO_COLOR is not
// set, always, or never.
const (
	ColorsAuto Colors = iota
	ColorsAlways
	ColorsNever
)

// SetColors sets when to use colours. It must be called before anything is shown.
func (s *Screen) SetColors(when Colors) {
	for _, stream := range []*stream{s.out, s.err} {
		switch when {
		case ColorsAuto:
			term := os.Getenv("TERM")
			stream.colored = stream.terminal && os.Getenv("NO_COLOR") == "" && term != "" && term != "dumb"
		case ColorsAlways:
			stream.colored = true
		case ColorsNever:
			stream.colored = false
		}
	}
}

// Paint returns text for standard output in a style, if colours are used there. The text must not
// contain control characters.
func (s *Screen) Paint(style Style, text string) string { return s.out.paint(style, text) }

// PaintErr does the same for standard error.
func (s *Screen) PaintErr(style Style, text string) string { return s.err.paint(style, text) }

func (s *stream) paint(style Style, text string) string {
	if !s.colored || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + codes[style] + "m" + text + "\x1b[0m"
}
