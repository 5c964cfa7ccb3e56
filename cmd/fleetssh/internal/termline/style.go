package termline

import (
	"os"
	"strings"
)

// Style is how a piece of text looks on a terminal.
type Style int

// The styles.
const (
	Plain   Style = iota // as the terminal has it
	Label                // the name of a host
	Alarm                // that something failed
	Failure              // what failed, and lines of standard error
	Heading              // a heading
	Added                // in a diff
	Removed
	Faint   // what matters less
	Warning // what may become a failure
	Hint    // the next step
)

// codes are the SGR parameters (ECMA-48, section 8.3.117) of the styles: colours of the terminal's
// own palette. Yellow and bright colours are not among them, because they are hard to read on a light
// background, nor is blue, which is on a dark one.
var codes = [...]string{
	Plain: "", Label: "36", Alarm: "1;31", Failure: "31", Heading: "1", Added: "32", Removed: "31", Faint: "2", Warning: "35", Hint: "36",
}

// Colors says when to use colours.
type Colors int

// When to use colours: as the environment says, always, or never.
const (
	ColorsAuto Colors = iota
	ColorsAlways
	ColorsNever
)

// SetColors sets when to use colours. It must be called before anything is shown.
func (s *Screen) SetColors(when Colors) {
	for _, stream := range []*stream{s.out, s.err} {
		stream.colored = when == ColorsAlways || when == ColorsAuto && usesColors(stream.terminal, os.Getenv)
	}
}

// usesColors reports whether the environment asks for colours. NO_COLOR turns them off
// (https://no-color.org), CLICOLOR_FORCE turns them on also without a terminal, and CLICOLOR=0 turns
// them off on one (https://bixense.com/clicolors). A terminal must say that it is more than a dumb one.
func usesColors(terminal bool, getenv func(string) string) bool {
	force, kind := getenv("CLICOLOR_FORCE"), getenv("TERM")
	switch {
	case getenv("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	case !terminal || getenv("CLICOLOR") == "0":
		return false
	}
	return kind != "" && kind != "dumb"
}

// leads are the words at the beginning of a message that are shown in a style.
var leads = []struct {
	text  string
	style Style
}{{"fleetssh: error:", Alarm}, {"fleetssh: warning:", Warning}, {"hint:", Hint}}

// splitLead splits a message at the end of the words that are shown in a style. Spaces may stand
// before them.
func splitLead(message string) (before string, lead Span, rest string) {
	trimmed := strings.TrimLeft(message, " ")
	for _, l := range leads {
		if rest, ok := strings.CutPrefix(trimmed, l.text); ok {
			return message[:len(message)-len(trimmed)], Span{l.style, l.text}, rest
		}
	}
	return "", Span{}, message
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

// Colored reports whether standard output shows colours.
func (s *Screen) Colored() bool { return s.out.colored }
