package shellquote

import "strings"

// Uncomment returns a program for sh without comments, blank lines and indentation. Each comment
// must stand on a line of its own. The program must not contain here-documents or quoted newlines.
func Uncomment(program string) string {
	var b strings.Builder
	for line := range strings.Lines(program) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// OneLine returns a program for sh on a single line, without comments. The login shell that
// receives the line may be csh, which ends a command at a newline even in quotes. The program must
// be as for [Uncomment].
func OneLine(program string) string {
	var b strings.Builder
	between := ""
	for line := range strings.Lines(Uncomment(program)) {
		line = strings.TrimSuffix(line, "\n")
		b.WriteString(between + line)
		between = "; "
		if continues(line) {
			between = " "
		}
	}
	return b.String()
}

// continues reports whether a line of a program ends in the middle of a command.
func continues(line string) bool {
	for _, end := range []string{"do", "then", "else", "in", "{", "||", "&&", "|", ";;"} {
		if line == end || strings.HasSuffix(line, " "+end) {
			return true
		}
	}
	// The pattern of a case.
	return strings.HasSuffix(line, ")") && strings.Count(line, ")") > strings.Count(line, "(")
}
