package simfleet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"path"
	"strconv"
	"strings"
)

// Shell runs the command line, or the lines of an interactive shell, in a small simulated POSIX
// shell. It executes nothing on the real machine and reads no file of it: it uses the files of the
// simulated host. Besides the usual small commands, scp -t and scp -f among them, it has:
//
//	bytes N          writes N bytes, in lines of 64
//	lines N [TEXT]   writes N numbered lines
//	stderr TEXT      writes the text to stderr
//	sudo …           asks for a password as sudo does, see [Host.SudoPassword]
//	trap '' SIGNAL…  ignores signals from now on
//	sh -c …          also accepts the line with which the library runs scripts, if they are for a shell
//	kill PID         sends a signal to any session of the host; $$ is the PID of a session
func Shell(s *Session) Status {
	sh := newShell(s)
	if s.Interactive {
		return sh.interact()
	}
	return sh.run(s.Line)
}

// shell is a running shell. Its subshells have the same process ID, as if exec had started them.
type shell struct {
	session *Session
	parent  *shell
	user    string
	vars    map[string]string
	args    []string // $0, $1, …
	streams streams
	last    int             // $?
	ended   *Status         // if not nil, the shell ends with this status
	line    context.Context // if not nil, it ends when INT ends the current line
}

type streams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	more           map[int]io.Writer // descriptors 3 to 9
}

// process is one command of a shell.
type process struct {
	shell *shell
	args  []string // args[0] is the name
	streams
}

func newShell(s *Session) *shell {
	sh := &shell{session: s, streams: streams{stdin: s.Stdin, stdout: s.Stdout, stderr: s.Stderr}}
	local, remote := s.Conn.LocalAddr().(*net.TCPAddr), s.Conn.RemoteAddr().(*net.TCPAddr)
	sh.vars = map[string]string{
		"SHELL":          "/bin/sh",
		"HOSTNAME":       s.Server.Name(),
		"PATH":           "/usr/local/bin:/usr/bin:/bin",
		"TERM":           "dumb",
		"SSH_CONNECTION": fmt.Sprintf("%s %d %s %d", remote.IP, remote.Port, local.IP, local.Port),
	}
	if s.PTY != nil {
		sh.vars["TERM"] = s.PTY.Term
		sh.vars["SSH_TTY"] = "/dev/pts/0"
	}
	for _, variable := range s.Env {
		name, value, _ := strings.Cut(variable, "=")
		sh.vars[name] = value
	}
	sh.become(s.User)
	sh.vars["PWD"] = sh.vars["HOME"]
	return sh
}

// become changes the user of the shell.
func (sh *shell) become(user string) {
	sh.user = user
	sh.vars["USER"], sh.vars["LOGNAME"], sh.vars["HOME"] = user, user, "/home/"+user
	if user == "root" {
		sh.vars["HOME"] = "/root"
	}
}

// child returns a subshell for a command that runs another command. It has its own variables.
func (p *process) child() *shell {
	sh := *p.shell
	sh.parent, sh.vars, sh.streams = p.shell, maps.Clone(sh.vars), p.streams
	return &sh
}

// interact runs lines until the end of the input.
func (sh *shell) interact() Status {
	for sh.ended == nil {
		if sh.session.PTY != nil {
			io.WriteString(sh.streams.stdout, sh.session.Server.Name()+"$ ")
		}
		line, err := readLine(sh.streams.stdin)
		if line != "" {
			sh.run(line)
		}
		if err != nil {
			break
		}
	}
	if sh.ended != nil {
		return *sh.ended
	}
	return Status{Code: sh.last}
}

// readLine reads up to the next newline and not a byte more: the rest belongs to the next reader.
func readLine(r io.Reader) (string, error) {
	const limit = 64 << 10
	var line []byte
	var b [1]byte
	for len(line) < limit {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	return string(line), nil
}

// run runs a line and returns the status of its last command.
func (sh *shell) run(line string) Status {
	commands, err := parseLine(line)
	if err != nil {
		fmt.Fprintf(sh.streams.stderr, "sh: 1: %s\n", err)
		sh.last = 2
		return Status{Code: 2}
	}
	for _, command := range commands {
		if command.after == "&&" && sh.last != 0 || command.after == "||" && sh.last == 0 {
			continue
		}
		sh.last = sh.command(command).Code
		if sh.ended != nil {
			return *sh.ended
		}
		if sh.session.context.Err() != nil {
			return Status{Signal: "HUP"}
		}
		if sh.interrupted() {
			return Status{Code: 130}
		}
	}
	return Status{Code: sh.last}
}

// end ends the shell and its parents.
func (sh *shell) end(status Status) {
	for ; sh != nil; sh = sh.parent {
		sh.ended = &status
	}
}

// command expands one command and runs it.
func (sh *shell) command(c simple) Status {
	words := c.words
	assigned := make(map[string]string)
	for len(words) > 0 {
		name, value, ok := words[0].assignment()
		if !ok {
			break
		}
		assigned[name] = sh.expand(value)
		words = words[1:]
	}
	var args []string
	for _, w := range words {
		if w.isArguments() {
			args = append(args, sh.args[min(1, len(sh.args)):]...)
			continue
		}
		if text := sh.expand(w); text != "" || w.quoted {
			args = append(args, text)
		}
	}
	p := &process{shell: sh, args: args, streams: sh.streams}
	for _, r := range c.redirects {
		if err := p.redirect(r, sh.expand(r.target)); err != nil {
			fmt.Fprintf(sh.streams.stderr, "sh: 1: %s\n", err)
			return Status{Code: 2}
		}
	}
	sh.trace(args)
	if len(args) == 0 {
		maps.Copy(sh.vars, assigned)
		return Status{}
	}
	saved := sh.vars
	if len(assigned) > 0 {
		sh.vars = maps.Clone(sh.vars)
		maps.Copy(sh.vars, assigned)
		defer func() { sh.vars = saved }()
	}
	return p.run()
}

// trace writes a command of the user's shell to stderr if the host has Trace set.
func (sh *shell) trace(args []string) {
	if !sh.session.Server.host.Trace || sh.parent != nil || len(args) == 0 {
		return
	}
	text := "+"
	for _, arg := range args {
		if strings.ContainsAny(arg, " \t\n'\"\\$`;&|<>()*?[]{}~#!") || arg == "" {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		text += " " + arg
	}
	io.WriteString(sh.streams.stderr, text+"\n")
}

func (sh *shell) expand(w word) string {
	var text strings.Builder
	for _, p := range w.parts {
		switch {
		case !p.variable:
			text.WriteString(p.text)
		case p.text == "?":
			text.WriteString(strconv.Itoa(sh.last))
		case p.text == "$":
			text.WriteString(strconv.Itoa(sh.session.PID))
		case p.text == "@":
			text.WriteString(strings.Join(sh.args[min(1, len(sh.args)):], " "))
		case p.text == "#":
			text.WriteString(strconv.Itoa(max(len(sh.args)-1, 0)))
		case p.text[0] >= '0' && p.text[0] <= '9':
			if i := int(p.text[0] - '0'); i < len(sh.args) {
				text.WriteString(sh.args[i])
			}
		default:
			text.WriteString(sh.vars[p.text])
		}
	}
	return text.String()
}

// redirect applies one redirection.
func (p *process) redirect(r redirect, target string) error {
	out := map[int]*io.Writer{1: &p.stdout, 2: &p.stderr}
	switch {
	case r.operator == "<" && target == "/dev/null" && r.fd == 0:
		p.stdin = bytes.NewReader(nil)
	case r.operator == "<" && r.fd == 0:
		opened, err := p.files().open(target)
		if err != nil {
			return fmt.Errorf("cannot open %s: %s", target, errorText(err))
		}
		p.stdin = opened
	case r.operator == "<":
		return fmt.Errorf("cannot open %s: No such file", target)
	case r.operator == ">&" && target == "-" && r.fd > 2:
		p.duplicate(r.fd, nil)
	case r.operator == ">&":
		number, err := strconv.Atoi(target)
		from := p.more[number]
		if out[number] != nil {
			from = *out[number]
		}
		if err != nil || from == nil {
			return fmt.Errorf("%s: Bad file descriptor", target)
		}
		if out[r.fd] == nil {
			p.duplicate(r.fd, from)
		} else {
			*out[r.fd] = from
		}
	case out[r.fd] == nil:
		return fmt.Errorf("%d: Bad file descriptor", r.fd)
	case target == "/dev/null":
		*out[r.fd] = io.Discard
	default:
		opened, err := p.openRedirect(r.operator, target)
		if err != nil {
			return fmt.Errorf("cannot create %s: %s", target, errorText(err))
		}
		*out[r.fd] = opened
	}
	return nil
}

// run runs the command args[0].
func (p *process) run() Status {
	name := p.args[0]
	if dir := path.Dir(name); dir == "/bin" || dir == "/usr/bin" || dir == "/usr/sbin" {
		name = path.Base(name)
	}
	builtin := lookup(name)
	if builtin == nil {
		fmt.Fprintf(p.stderr, "sh: 1: %s: not found\n", p.args[0])
		return Status{Code: 127}
	}
	return builtin(p)
}

// with returns the process with other arguments, for a command that runs another.
func (p *process) with(args []string) *process {
	return &process{shell: p.shell, args: args, streams: p.streams}
}

// fail writes a message of the command to stderr, and returns code as its status.
func (p *process) fail(code int, format string, args ...any) Status {
	fmt.Fprintf(p.stderr, p.args[0]+": "+format+"\n", args...)
	return Status{Code: code}
}
