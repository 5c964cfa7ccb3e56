package shellquote

import "strings"

// Portable returns a command line for a POSIX shell so that it can be handed to whatever
// login shell there is. csh ends a command at a newline, in quotes as well: a line that
// holds one goes to sh with its newlines spelled out. Any other stays as it is: what [Quote]
// has written is read alike by all of them.
//
// The line must not end with a newline, and must be one for sh from its first word on.
func Portable(line string) string {
	if !strings.Contains(line, "\n") {
		return line
	}
	// The argument of %b: a backslash and a newline are written in octal.
	text := strings.NewReplacer(`\`, `\0134`, "\n", `\0012`).Replace(line)
	return Join("sh", "-c", `eval "$(printf %b "$1")"`, "sh", text)
}
