package simfleet

import (
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// scriptLoader is a line that takes a script from standard input and runs it, as the library sends it: more than the
// simulated shell can read. It runs scripts for a shell only, and has no file to name them by.
var scriptLoader = regexp.MustCompile(`^n=(\d{1,9}); f=; .*; exec (\S.*) \$p/3 "\$@" 3<&3$`)

// script takes the script from the input of the process, and not a byte more. ok is false if the line is no such loader.
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
		return "stderr only " + strconv.Itoa(n) + " bytes have come; exit 126", true
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
