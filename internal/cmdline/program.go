package cmdline

import (
	_ "embed" // for the programs
	"fmt"
	"strconv"
	"strings"

	"fleetssh/internal/sentinel"
	"fleetssh/internal/shellquote"
)

// The library's own programs for sh. Names such as "@size@" are replaced.
var (
	//go:embed script.sh
	scriptText string
	//go:embed server.sh
	serverText string
	//go:embed find.sh
	findText string
	//go:embed kill.sh
	killText string
	//go:embed console.sh
	consoleText string
	//go:embed input.sh
	inputText string

	scriptProgram  = shellquote.OneLine(scriptText)
	serverProgram  = shellquote.OneLine(serverText)
	findProgram    = strings.ReplaceAll(shellquote.OneLine(findText), "@server@", serverProgram)
	killProgram    = shellquote.OneLine(killText)
	consoleProgram = shellquote.OneLine(consoleText)
	inputProgram   = shellquote.OneLine(inputText)
)

// fill replaces names such as "@size@" in a program. Each name is followed by its value.
func fill(program string, namesAndValues ...string) string {
	return strings.NewReplacer(namesAndValues...).Replace(program)
}

// ServerName returns the command line that prints the name of the SSH server's process for this
// connection.
func ServerName() string {
	return "exec sh -c " + shellquote.Quote(serverProgram+`; printf "%s\n" "$name"`)
}

// Signals describes signals to all processes of a command, to be sent from another session.
type Signals struct {
	Names    string // in order, separated by blanks
	Patience int    // how long to wait for the end after each, in tenths of a second; 0: do not wait
	Top      int    // ID of the process that the server has started; 0: unknown
}

// Line returns the command line that sends the signals. It exits with 0 if all processes have
// ended, or, with Patience 0, if a signal was sent. as runs only the signalling with sudo: finding
// the processes needs no privileges. It is nil if the command runs without sudo.
func (s Signals) Line(as *Sudo) string {
	top := ""
	if s.Top > 0 {
		top = strconv.Itoa(s.Top)
	}
	kill := as.prefix() + "sh -c " + shellquote.Quote(killProgram) + " " + strconv.Itoa(s.Patience) + " " + shellquote.Quote(s.Names)
	return "exec sh -c " + shellquote.Quote(fill(findProgram, "@kill@", kill)) + " sh " + shellquote.Quote(top)
}

// KillGroup returns the command line that sends a signal to a process group. exec is as for
// [ConsoleShell].
func KillGroup(exec, signal string, group int) string {
	return exec + "sh -c " + shellquote.Quote(fmt.Sprintf("kill -s %s -- -%d", shellquote.Quote(signal), group))
}

// ConsoleShell returns the command line that starts the shell of a console. exec is "exec ", or
// empty if the login shell is a restricted one, which refuses exec.
func ConsoleShell(exec string) string { return exec + "sh -c " + shellquote.Quote(consoleProgram) }

// KeepInput returns the command line that keeps the first size bytes of its standard input in a
// temporary file until the input ends. It prints the sentinel and the name of the file. exec is as
// for [ConsoleShell].
func KeepInput(exec string, size int64, before sentinel.Text) string {
	return exec + "sh -c " + shellquote.Quote(fill(inputProgram, "@size@", strconv.FormatInt(size, 10), "@sentinel@", before.Escaped()))
}
