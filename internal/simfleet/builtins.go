package simfleet

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lookup returns a command of the simulated shell, or nil.
func lookup(name string) func(*process) Status {
	switch name {
	case "true", ":":
		return func(*process) Status { return Status{} }
	case "false":
		return func(*process) Status { return Status{Code: 1} }
	case "exit":
		return exit
	case "exec":
		return execute
	case "eval":
		return eval
	case "[":
		return test
	case "unset":
		return unset
	case "set":
		return set
	case "readonly": // no script assigns to its read-only variables
		return func(*process) Status { return Status{} }
	case "sh", "bash", "dash":
		return subshell
	case "cd":
		return changeDirectory
	case "export":
		return export
	case "trap":
		return trap
	case "kill":
		return kill
	case "env", "printenv":
		return environment
	case "sudo":
		return sudo
	case "reboot", "systemctl", "shutdown":
		return reboot
	case "sleep":
		return sleep
	case "echo":
		return echo
	case "printf":
		return printf
	case "stderr":
		return func(p *process) Status { return p.println(p.stderr, strings.Join(p.args[1:], " ")) }
	case "pwd":
		return func(p *process) Status { return p.println(p.stdout, p.shell.vars["PWD"]) }
	case "hostname":
		return func(p *process) Status { return p.println(p.stdout, p.shell.session.Server.Name()) }
	case "whoami":
		return func(p *process) Status { return p.println(p.stdout, p.shell.user) }
	case "id":
		return identity
	case "uname":
		return uname
	case "uptime":
		return uptime
	case "date":
		return date
	case "tty":
		return terminal
	case "stty":
		return terminalSize
	default:
		return lookupFilter(name)
	}
}

// set accepts only +x and +v, which turn off options that are never on.
func set(p *process) Status {
	for _, option := range p.args[1:] {
		if option != "+x" && option != "+v" {
			return p.fail(2, "Illegal option %s", option)
		}
	}
	return Status{}
}

func (p *process) println(w io.Writer, text string) Status {
	if _, err := io.WriteString(w, text+"\n"); err != nil {
		return Status{Code: 141} // as if SIGPIPE had killed the command
	}
	return Status{}
}

func exit(p *process) Status {
	status := Status{Code: p.shell.last}
	if len(p.args) > 1 {
		code, err := strconv.Atoi(p.args[1])
		if err != nil {
			status = p.fail(2, "Illegal number: %s", p.args[1])
		} else {
			status = Status{Code: code & 0xff}
		}
	}
	p.shell.ended = &status
	return status
}

// execute is exec: the command replaces the shell.
func execute(p *process) Status {
	if len(p.args) == 1 {
		p.shell.streams = p.streams
		return Status{}
	}
	status := p.with(p.args[1:]).run()
	if p.shell.ended == nil {
		p.shell.ended = &status
	}
	return status
}

// subshell is sh -c LINE [NAME [ARGUMENT…]], or sh with the lines on stdin.
func subshell(p *process) Status {
	args := p.args[1:]
	sh := p.child()
	sh.ended, sh.last = nil, 0
	interactive := false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		interactive = interactive || strings.Contains(args[0], "i")
		// "c" may stand behind other options, as in "-lc".
		if strings.HasSuffix(args[0], "c") {
			if len(args) < 2 {
				return p.fail(2, "0: -c requires an argument")
			}
			if strings.HasPrefix(args[1], compareProgram) && len(args) > 2 {
				return p.compareFiles(args[3:])
			}
			sh.args = args[2:]
			if text, ok := p.script(args[1]); ok {
				return sh.run(text)
			}
			return sh.run(args[1])
		}
		args = args[1:]
	}
	if len(args) > 0 {
		return p.fail(127, "0: cannot open %s: No such file", args[0])
	}
	if interactive {
		return sh.prompt()
	}
	return sh.interact()
}

func changeDirectory(p *process) Status {
	dir := p.shell.vars["HOME"]
	if len(p.args) > 1 {
		dir = p.args[1]
	}
	if !strings.HasPrefix(dir, "/") || strings.HasPrefix(dir, "/nonexistent") {
		return p.fail(2, "can't cd to %s", dir)
	}
	p.shell.vars["PWD"] = dir
	return Status{}
}

func export(p *process) Status {
	for _, arg := range p.args[1:] {
		if name, value, ok := strings.Cut(arg, "="); ok {
			p.shell.vars[name] = value
		}
	}
	return Status{}
}

// trap ignores signals. Its first argument must be empty: other actions are not supported.
func trap(p *process) Status {
	if len(p.args) < 2 || p.args[1] != "" {
		return p.fail(2, "only the action '' is supported")
	}
	for _, name := range p.args[2:] {
		p.shell.session.ignore(strings.TrimPrefix(name, "SIG"))
	}
	return Status{}
}

// signalName returns the name of the signal given as "TERM", "SIGTERM" or "15", or "" if it is
// unknown. "0" stays "0".
func signalName(text string) string {
	number := strings.TrimPrefix(text, "SIG")
	names := map[string]string{
		"0": "0", "1": "HUP", "2": "INT", "3": "QUIT", "6": "ABRT", "8": "FPE", "9": "KILL", "10": "USR1", "11": "SEGV",
		"12": "USR2", "13": "PIPE", "14": "ALRM", "15": "TERM",
	}
	if name, ok := names[number]; ok {
		return name
	}
	if knownSignal(number) {
		return number
	}
	return ""
}

func kill(p *process) Status {
	args, signal := p.args[1:], "TERM"
	if len(args) > 1 && args[0] == "-s" {
		signal, args = signalName(args[1]), args[2:]
	} else if len(args) > 1 && strings.HasPrefix(args[0], "-") {
		signal, args = signalName(args[0][1:]), args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if signal == "" || len(args) == 0 {
		return p.fail(2, "Usage: kill [-s sigspec | -signum] pid")
	}
	status := Status{}
	for _, arg := range args {
		// A negative number names a process group. Every session is a group of its own.
		pid, _ := strconv.Atoi(strings.TrimPrefix(arg, "-"))
		self := p.shell.session
		switch other := self.Server.process(pid); {
		case other == nil:
			status = p.fail(1, "No such process")
		case signal == "0" || other.ignores(signal):
		case other == self:
			status = Status{Signal: signal}
			p.shell.end(status)
			return status
		default:
			other.deliver(signal)
		}
	}
	return status
}

// environment is env [NAME=value…] [COMMAND…], or printenv [NAME].
func environment(p *process) Status {
	args := p.args[1:]
	sh := p.child()
	if p.args[0] == "printenv" && len(args) > 0 {
		value, ok := sh.vars[args[0]]
		if !ok {
			return Status{Code: 1}
		}
		return p.println(p.stdout, value)
	}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, value, _ := strings.Cut(args[0], "=")
		sh.vars[name] = value
		args = args[1:]
	}
	if len(args) > 0 {
		return (&process{shell: sh, args: args, streams: p.streams}).run()
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sh.vars)) {
		fmt.Fprintf(&text, "%s=%s\n", name, sh.vars[name])
	}
	io.WriteString(p.stdout, text.String())
	return Status{}
}

// sleep returns when the time is over, a signal kills the session, or the client disconnects.
func sleep(p *process) Status {
	if len(p.args) < 2 {
		return p.fail(1, "missing operand")
	}
	text := p.args[1]
	if text == "infinity" {
		text = "1000000h"
	}
	d, err := time.ParseDuration(text)
	if seconds, bad := strconv.ParseFloat(text, 64); bad == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d < 0 {
		return p.fail(1, "invalid time interval '%s'", p.args[1])
	}
	if !wait(p.shell.context(), d) {
		if p.shell.interrupted() {
			return Status{Code: 130}
		}
		return Status{Signal: "HUP"}
	}
	return Status{}
}

func echo(p *process) Status {
	args := p.args[1:]
	if len(args) > 0 && args[0] == "-n" {
		io.WriteString(p.stdout, strings.Join(args[1:], " "))
		return Status{}
	}
	return p.println(p.stdout, strings.Join(args, " "))
}

// printf supports %s, %d, %%, \n, \t, \r and \\, and repeats the format while arguments are left.
func printf(p *process) Status {
	if len(p.args) < 2 {
		return p.fail(2, "usage: printf format [arg ...]")
	}
	format, args := p.args[1], p.args[2:]
	var text bytes.Buffer
	for {
		before := len(args)
		for i := 0; i < len(format); i++ {
			if i+1 == len(format) || format[i] != '%' && format[i] != '\\' {
				text.WriteByte(format[i])
				continue
			}
			i++
			switch format[i-1 : i+1] {
			case "%s", "%d":
				if len(args) > 0 {
					text.WriteString(args[0])
					args = args[1:]
				}
			case "%%", `\\`:
				text.WriteByte(format[i])
			case `\n`:
				text.WriteByte('\n')
			case `\t`:
				text.WriteByte('\t')
			case `\r`:
				text.WriteByte('\r')
			default:
				text.WriteString(format[i-1 : i+1])
			}
		}
		if len(args) == 0 || len(args) == before {
			break
		}
	}
	p.stdout.Write(text.Bytes())
	return Status{}
}

func identity(p *process) Status {
	user, id := p.shell.user, 1000
	if user == "root" {
		id = 0
	}
	text := fmt.Sprintf("uid=%d(%s) gid=%d(%s) groups=%d(%s)", id, user, id, user, id, user)
	switch strings.Join(p.args[1:], " ") {
	case "-u", "-g":
		text = strconv.Itoa(id)
	case "-un", "-gn", "-u -n":
		text = user
	}
	return p.println(p.stdout, text)
}

func uname(p *process) Status {
	name := p.shell.session.Server.Name()
	text := map[string]string{
		"-n": name, "-r": "6.1.0-sim", "-m": "x86_64", "-a": "Linux " + name + " 6.1.0-sim #1 SMP x86_64 GNU/Linux",
	}[strings.Join(p.args[1:], " ")]
	if text == "" {
		text = "Linux"
	}
	return p.println(p.stdout, text)
}

// uptime differs between hosts and is constant for each host.
func uptime(p *process) Status {
	h := fnv.New32a()
	io.WriteString(h, p.shell.session.Server.Name())
	n := h.Sum32()
	return p.println(p.stdout, fmt.Sprintf(" 12:00:00 up %d days, %2d:%02d,  1 user,  load average: 0.%02d, 0.%02d, 0.%02d",
		n%400+2, n%24, n%60, n%100, n/7%100, n/11%100))
}

func date(p *process) Status {
	now := time.Now().UTC()
	if len(p.args) > 1 && p.args[1] == "+%s" {
		return p.println(p.stdout, strconv.FormatInt(now.Unix(), 10))
	}
	return p.println(p.stdout, now.Format("Mon Jan _2 15:04:05 UTC 2006"))
}

func terminal(p *process) Status {
	if p.shell.session.PTY == nil {
		p.println(p.stdout, "not a tty")
		return Status{Code: 1}
	}
	return p.println(p.stdout, "/dev/pts/0")
}

// terminalSize is stty. Only "stty size" does anything.
func terminalSize(p *process) Status {
	if p.shell.session.PTY == nil {
		return p.fail(1, "'standard input': Inappropriate ioctl for device")
	}
	if len(p.args) > 1 && p.args[1] == "size" {
		columns, rows := p.shell.session.WindowSize()
		return p.println(p.stdout, fmt.Sprintf("%d %d", rows, columns))
	}
	return Status{}
}
