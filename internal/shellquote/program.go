package shellquote

import "strings"

// Uncomment returns a program for sh without its comments, blank lines and indentation. A comment
// must have a line of its own, and there must be no here-document.
func Uncomment(program string) string {
	var b strings.Builder
	for line := range strings.Lines(program) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// OneLine returns a program for sh on a single line, without its comments: csh, which may be the
// login shell, ends a command at a newline even in quotes. The program must be as for [Uncomment].
func OneLine(program string) string {
	var b strings.Builder
	between := ""
	for line := range strings.Lines(Uncomment(program)) {
		line = strings.TrimSuffix(line, "\n")
		b.WriteString(between + line)
		between = "; "
		if goesOn(line) {
			between = " "
		}
	}
	return b.String()
}

// goesOn reports whether a line of a program ends in the middle of a command.
func goesOn(line string) bool {
	for _, end := range []string{"do", "then", "else", "in", "{", "||", "&&", "|", ";;"} {
		if line == end || strings.HasSuffix(line, " "+end) {
			return true
		}
	}
	// The pattern of a case.
	return strings.HasSuffix(line, ")") && strings.Count(line, ")") > strings.Count(line, "(")
}
