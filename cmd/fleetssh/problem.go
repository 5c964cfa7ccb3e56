package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/internal/account"
	"fleetssh/internal/shellquote"
	"fleetssh/inventory"
)

// problem is what went wrong on a host, as a user wants to read it.
type problem struct {
	kind   string   // one of the kinds of the JSON output
	phase  string   // how far it came
	reason string   // without the host, which stands beside it
	detail []string // lines that say more
	hint   string   // the next step, if we know it
	banner string   // what the host wanted to be read before the login
	tries  int      // attempts to connect

	key *keyProblem // of a host key, if there is more to say; nil otherwise
}

// problemOf returns what an error of the library means that host has ended with;
// the zero value for nil.
func problemOf(err error, host *fleetssh.HostConfig) problem {
	switch e := err.(type) {
	case *fleetssh.UnknownHostError:
		return problem{kind: "unknown_host", phase: "resolve", reason: exit.Reason(e.Err), tries: e.Attempts}
	case *fleetssh.ConnectionError:
		return problem{kind: "connection", phase: e.Phase, reason: exit.Reason(e.Err) + saidText(e.Said) + attemptsText(e.Attempts), tries: e.Attempts}
	case *fleetssh.HostKeyError:
		return hostKeyProblem(e, host)
	case *fleetssh.AuthenticationError:
		return authenticationProblem(e, host)
	case *fleetssh.PasswordError:
		if e.Kerberos {
			return problem{kind: "password", phase: e.Op, reason: fmt.Sprintf("%s refused the password of %s; it was not tried again", e.RefusedBy, e.User), tries: 1}
		}
		return problem{kind: "password", phase: e.Op, reason: fmt.Sprintf("the password was refused by %s; it was not sent here", e.RefusedBy), tries: 1}
	case *fleetssh.ProxyError:
		p := problemOf(e.Err, &fleetssh.HostConfig{Host: e.Hop})
		if p.key != nil {
			p.key.hop = p.key.name
		}
		p.kind, p.phase, p.reason = "proxy", "proxy", "at the hop "+e.Hop+": "+p.reason
		if strings.HasPrefix(e.Hop, "command ") && strings.Contains(p.reason, "Permission denied") {
			p.hint = "it asks where it has a terminal; without one it needs a key, from the SSH agent or a file"
		}
		return p
	case *fleetssh.TimeoutError:
		return timeoutProblem(e)
	case *fleetssh.PKeyFileError:
		return keyFileProblem(e)
	case *fleetssh.SessionError:
		p := problem{kind: "session", phase: e.Op, reason: exit.Reason(e.Err), tries: 1}
		if errors.Is(e.Err, fleetssh.ErrTerminalRequired) {
			p.hint = "--tty asks for a terminal"
		}
		return p
	case *fleetssh.CopyError:
		return copyProblem(e)
	case *fleetssh.HostArgumentError:
		return problem{kind: "host_argument", reason: e.Reason}
	case *fleetssh.ConfigError:
		return configProblem(e)
	case nil:
		return problem{}
	}
	return problem{kind: "connection", phase: "connect", reason: err.Error()}
}

// leaveOut is a hint that names the hosts of a group of failures, once they are known.
const leaveOut = "-x leaves out"

// configProblem says why a host cannot be used, which stands beside it.
func configProblem(e *fleetssh.ConfigError) problem {
	p := problem{kind: "config", phase: "config", reason: e.Reason}
	if setting, ok := errors.AsType[*inventory.SettingError](e.Err); ok {
		p.reason = setting.Setting + ": " + setting.Reason
	}
	p.hint = leaveOut
	if errors.Is(e.Err, account.ErrNoEntry) {
		p.hint = "name the user with -l"
	}
	if f, ok := errors.AsType[*exit.Error](e.Err); ok && f.Hint != "" {
		p.hint = f.Hint
	}
	return p
}

// mostPathShown is how many bytes of a path are shown.
const mostPathShown = 400

// copyProblem names the file, and the side it is on where that is not the host.
func copyProblem(e *fleetssh.CopyError) problem {
	where := e.Path
	if len(where) > mostPathShown { // of a host, which may name any
		where = strings.ToValidUTF8(where[:mostPathShown], "") + "…"
	}
	if e.Local {
		where = "local " + where
	}
	return problem{kind: "copy", phase: e.Op, reason: fmt.Sprintf("cannot %s %s: %s", e.Op, where, exit.Reason(e.Err)), tries: 1}
}

func authenticationProblem(e *fleetssh.AuthenticationError, host *fleetssh.HostConfig) problem {
	p := problem{kind: "authentication", phase: "auth", banner: e.Banner, tries: 1}
	if e.Expired {
		p.reason = fmt.Sprintf("the password of %s has expired and must be changed", e.User)
		p.hint = "ssh " + shellquote.Quote(e.User+"@"+host.Host)
		if port := selection.PortOf(host); port != 22 {
			p.hint = fmt.Sprintf("ssh -p %d %s", port, shellquote.Quote(e.User+"@"+host.Host))
		}
		return p
	}
	p.reason = fmt.Sprintf("login as %s refused", e.User)
	if len(e.Tried) > 0 {
		p.reason += " (tried " + strings.Join(e.Tried, ", ") + ")"
	}
	if e.Err != nil {
		p.reason += ": " + e.Err.Error()
	}
	const most = 4
	for i, key := range e.Keys {
		if i == most {
			p.detail = append(p.detail, fmt.Sprintf("offered %d more keys", len(e.Keys)-most))
			break
		}
		p.detail = append(p.detail, "offered "+key)
	}
	p.hint = "name the user with -l, the key with -i, or use ssh-add or --ask-pass"
	return p
}

func timeoutProblem(e *fleetssh.TimeoutError) problem {
	p := problem{kind: "timeout", phase: e.Op, tries: max(e.Attempts, 1), reason: "timed out"}
	switch {
	case e.Err != nil:
		p.reason = e.Err.Error()
	case e.Op == "run":
		p.reason = "after " + shortDuration(e.After)
	case e.After > 0:
		p.reason = "no answer within " + shortDuration(e.After)
	}
	p.reason += saidText(e.Said) + attemptsText(e.Attempts)
	return p
}

// saidText tells what a host has said in place of its SSH version.
func saidText(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(`: it said "%s"`, said)
}

func keyFileProblem(e *fleetssh.PKeyFileError) problem {
	p := problem{kind: "pkey_file", phase: "auth", reason: exit.Reason(e.Err)}
	if e.Path != "" {
		p.reason = e.Path + ": " + p.reason
	}
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](e.Err); ok {
		p.hint = "ssh-add loads the key into the agent"
	}
	return p
}

func attemptsText(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d attempts)", n)
}

// shortDuration writes a time as one would say it, to two digits.
func shortDuration(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 100 && unit < time.Second {
		unit *= 10
	}
	text := d.Round(unit).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
