package simfleet

import (
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// scriptLoader matches the line with which the library runs a script from standard input. The
// simulated shell cannot parse this line, so it is recognised as a whole.
var scriptLoader = regexp.MustCompile(`^n=(\d{1,9}); f=; .*; exec (\S.*) \$p/3 "\$@" 3<&3$`)

// script reads a script from standard input, and not a byte more, if the line is such a loader.
// text is the line to run instead: the script if it is for a shell, or else an error message. ok is
// false if the line is not a loader.
func (p *process) script(line string) (text string, ok bool) {
	m := scriptLoader.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return "", false
	}
	script := make([]byte, n)
	if n, err := io.ReadFull(p.stdin, script); err != nil {
		return "stderr only " + strconv.Itoa(n) + " bytes have arrived; exit 126", true
	}
	words := strings.Fields(m[2])
	name := path.Base(words[0])
	if name == "env" && len(words) > 1 {
		name = words[1]
	}
	switch name {
	case "sh", "bash", "dash":
		return string(script), true
	}
	return "stderr " + strings.Trim(name, "'") + ": not found; exit 127", true
}
