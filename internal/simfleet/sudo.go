package simfleet

import (
	"fmt"
	"io"
	"strings"
)

// sudoRun is one run of the simulated sudo. Its messages, and the streams it writes them to, were
// recorded with sudo 1.9.13 and, for [Host.SudoRS], with sudo-rs 0.2.14.
type sudoRun struct {
	*process
	prompt         string
	user           string
	fromStdin      bool // -S
	nonInteractive bool // -n
}

// sudo is sudo [-S] [-n] [-p PROMPT] [-u USER] [--] [NAME=value…] COMMAND…
func sudo(p *process) Status {
	r := &sudoRun{process: p, user: "root", prompt: "[sudo] password for " + p.shell.user + ": "}
	command, ok := r.options(p.args[1:])
	if !ok || len(command) == 0 {
		return p.usage()
	}
	if status := r.ask(); status.Code != 0 {
		return status
	}
	switch host := p.shell.session.Server.host; {
	case host.RefuseSudo && host.SudoRS:
		return p.fail(1, "I'm sorry %s. I'm afraid I can't do that", p.shell.user)
	case host.RefuseSudo:
		fmt.Fprintf(p.stderr, "%s is not in the sudoers file.\n", p.shell.user)
		return Status{Code: 1}
	}
	sh := p.child()
	sh.vars["SUDO_USER"] = sh.user
	sh.become(r.user)
	return (&process{shell: sh, args: append([]string{"env"}, command...), streams: p.streams}).run()
}

func (p *process) usage() Status {
	fmt.Fprintln(p.stderr, "usage: sudo [-Sn] [-p prompt] [-u user] [VAR=value] command [arg ...]")
	return Status{Code: 1}
}

// options parses the options and returns the arguments after them.
func (r *sudoRun) options(args []string) (command []string, ok bool) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		option := args[0]
		args = args[1:]
		if option == "--" {
			break
		}
		for i := 1; i < len(option); i++ {
			switch option[i] {
			case 'S':
				r.fromStdin = true
			case 'n':
				r.nonInteractive = true
			case 'E', 'H', 'k':
			case 'p', 'u':
				value := option[i+1:]
				if value == "" {
					if len(args) == 0 {
						return nil, false
					}
					value, args = args[0], args[1:]
				}
				if option[i] == 'p' {
					r.prompt = value
				} else {
					r.user = value
				}
				i = len(option)
			default:
				return nil, false
			}
		}
	}
	return args, true
}

// ask asks for the password, up to three times. A status with code 0 means that the command may
// run.
func (r *sudoRun) ask() Status {
	session := r.shell.session
	password := session.Server.host.SudoPassword
	if password == "" || r.shell.user == "root" {
		return Status{}
	}
	if r.nonInteractive {
		return r.fail(1, "a password is required")
	}
	if !r.fromStdin && session.PTY == nil {
		r.fail(1, "a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper")
		return r.fail(1, "a password is required")
	}
	if session.Server.host.SudoRS {
		return r.askAsRust(password)
	}
	for try := 1; ; try++ {
		io.WriteString(r.stderr, r.question())
		line, err := r.readAnswer(password)
		if session.PTY != nil {
			io.WriteString(r.stderr, "\n")
		}
		switch {
		case line == password:
			return Status{}
		case err != nil && line == "" && try == 1:
			r.fail(1, "no password was provided")
			return r.fail(1, "a password is required")
		case err != nil && line == "":
			return r.fail(1, "%d incorrect password attempt%s", try-1, strings.Repeat("s", min(try-2, 1)))
		case try == 3:
			return r.fail(1, "3 incorrect password attempts")
		}
		fmt.Fprintln(r.stderr, "Sorry, try again.")
	}
}

// askAsRust is ask for sudo-rs, which ends the line after the password even without a terminal.
func (r *sudoRun) askAsRust(password string) Status {
	for try := 1; ; try++ {
		fmt.Fprintf(r.stderr, "[sudo: %s] Password: ", r.question())
		line, err := r.readAnswer(password)
		io.WriteString(r.stderr, "\n")
		switch {
		case line == password:
			return Status{}
		case err != nil && line == "":
			return r.fail(1, "Password is required")
		case try == 3:
			return r.fail(1, "maximum 3 incorrect authentication attempts")
		}
		r.fail(1, "Authentication failed, try again.")
	}
}

// readAnswer reads one password, and counts it if it is wrong.
func (r *sudoRun) readAnswer(password string) (string, error) {
	line, err := readLine(r.stdin)
	if line != password && line != "" {
		r.shell.session.Server.stats.change(func(st *Stats) { st.SudoFailures++ })
	}
	return line, err
}

// question returns the prompt with its escapes expanded.
func (r *sudoRun) question() string {
	host := r.shell.session.Server.Name()
	return strings.NewReplacer("%%", "%", "%p", r.shell.user, "%u", r.shell.user, "%U", r.user, "%h", host, "%H", host).Replace(r.prompt)
}
