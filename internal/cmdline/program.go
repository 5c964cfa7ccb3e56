package cmdline

import (
	_ "embed" // for the programs
	"fmt"
	"strconv"
	"strings"

	"fleetssh/internal/mark"
	"fleetssh/internal/shellquote"
)

// The programs for sh that hosts run for us. What stands between two "@" is filled in.
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

// fill replaces names in a program, which are written between "@", by values: each name is
// followed by its value.
func fill(program string, namesAndValues ...string) string {
	return strings.NewReplacer(namesAndValues...).Replace(program)
}

// ServerName returns the line that writes the name of the SSH server's process for this connection.
func ServerName() string {
	return "exec sh -c " + shellquote.Quote(serverProgram+`; printf "%s\n" "$name"`)
}

// Signals says what to do to the processes of a command from another session.
type Signals struct {
	Names    string // in order, with blanks between them
	Patience int    // tenths of a second to wait for the end after each; 0: not to wait
	Top      int    // the process that the server has started; 0: not known
}

// Line returns the line that sends the signals. It exits with 0 if, after waiting, all processes
// have ended; without waiting, if a signal was sent. Finding the processes needs no rights. If sudo
// runs the command, sudo is needed to signal them.
func (s Signals) Line(as *Sudo) string {
	top := ""
	if s.Top > 0 {
		top = strconv.Itoa(s.Top)
	}
	kill := as.prefix() + "sh -c " + shellquote.Quote(killProgram) + " " + strconv.Itoa(s.Patience) + " " + shellquote.Quote(s.Names)
	return "exec sh -c " + shellquote.Quote(fill(findProgram, "@kill@", kill)) + " sh " + shellquote.Quote(top)
}

// KillGroup returns the line that sends a signal to a process group. exec is as for
// [ConsoleShell].
func KillGroup(exec, signal string, group int) string {
	return exec + "sh -c " + shellquote.Quote(fmt.Sprintf("kill -s %s -- -%d", shellquote.Quote(signal), group))
}

// ConsoleShell returns the line that starts the shell of a console. exec is "exec ", or empty where
// the login shell has no such command: a restricted one.
func ConsoleShell(exec string) string { return exec + "sh -c " + shellquote.Quote(consoleProgram) }

// KeepInput returns the line that keeps size bytes of its input in a temporary file, whose name it
// writes behind a mark, until the input ends. exec is as for [ConsoleShell].
func KeepInput(exec string, size int64, named mark.Mark) string {
	return exec + "sh -c " + shellquote.Quote(fill(inputProgram, "@size@", strconv.FormatInt(size, 10), "@mark@", named.Escaped()))
}
