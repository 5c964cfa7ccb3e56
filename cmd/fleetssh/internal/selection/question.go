package selection

import (
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Limits of a question that is shown in full.
const (
	maxQuestionLines = 40
	maxQuestionLine  = 500 // bytes
)

// questionText returns a question as it is shown. Each line begins with the name of the host, so that
// no host can impersonate another host or this program.
func questionText(q fleetssh.Question) string {
	lines := strings.Split(q.Prompt, "\n")
	if len(lines) > maxQuestionLines { // the end has the actual question
		lines = append(append(lines[:maxQuestionLines/2:maxQuestionLines/2], "…"), lines[len(lines)-maxQuestionLines/2:]...)
	}
	for i, line := range lines {
		if i < len(lines)-1 {
			line = strings.TrimRight(line, " \t\r")
		}
		if len(line) > maxQuestionLine {
			line = strings.ToValidUTF8(line[:maxQuestionLine], "") + "…"
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
