package shellquote

import "strings"

// Portable returns a command line for sh in a form that any login shell accepts. csh ends a command
// at a newline even in quotes, so a line with newlines is handed to sh with the newlines escaped. A
// line without newlines is returned as it is: all shells read what [Quote] returns in the same way.
//
// The whole line must be valid for sh and must not end with a newline.
func Portable(line string) string {
	if !strings.Contains(line, "\n") {
		return line
	}
	// printf %b reads a backslash and a newline in octal.
	text := strings.NewReplacer(`\`, `\0134`, "\n", `\0012`).Replace(line)
	return Join("sh", "-c", `eval "$(printf %b "$1")"`, "sh", text)
}
