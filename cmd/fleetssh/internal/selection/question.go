package selection

import (
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// How much of a question of a host is shown.
const (
	mostQuestionLines = 40
	mostQuestionLine  = 500 // bytes
)

// questionText returns a question as it is put to the user: each of its lines behind the
// host, which has asked for it and for nothing else.
func questionText(q fleetssh.Question) string {
	lines := strings.Split(q.Prompt, "\n")
	if len(lines) > mostQuestionLines { // what is asked for stands in the end
		lines = append(append(lines[:mostQuestionLines/2:mostQuestionLines/2], "…"), lines[len(lines)-mostQuestionLines/2:]...)
	}
	for i, line := range lines {
		if i < len(lines)-1 {
			line = strings.TrimRight(line, " \t\r")
		}
		if len(line) > mostQuestionLine {
			line = strings.ToValidUTF8(line[:mostQuestionLine], "") + "…"
		}
		line = termline.Visible(line)
		switch {
		case i == 0 && strings.Contains(line, q.Host):
		case line == "":
			line = q.Host + ":"
		default:
			line = q.Host + ": " + line
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
