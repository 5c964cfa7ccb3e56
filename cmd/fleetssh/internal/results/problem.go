package results

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

// Problem is what went wrong on a host, in words for the user.
type Problem struct {
	Kind   string   // one of the kinds of the JSON output
	Phase  string   // a phase of connecting, or a later step
	Reason string   // without the name of the host
	Detail []string // more lines about it
	Hint   string   // the next step; empty if none is known
	banner string   // the banner that the host sent before the login
	Tries  int      // attempts to connect

	Key *KeyProblem // not nil if it is about a host key
}

// ProblemOf explains the error with which the work on a host ended. It returns the zero value for
// nil.
func ProblemOf(err error, host *fleetssh.HostConfig) Problem {
	switch e := err.(type) {
	case *fleetssh.UnknownHostError:
		return Problem{Kind: "unknown_host", Phase: "resolve", Reason: exit.Reason(e.Err), Tries: e.Attempts}
	case *fleetssh.ConnectionError:
		return Problem{Kind: "connection", Phase: string(e.Phase), Reason: exit.Reason(e.Err) + receivedText(e.Said) + attemptsText(e.Attempts), Tries: e.Attempts}
	case *fleetssh.HostKeyError:
		return hostKeyProblem(e, host)
	case *fleetssh.AuthenticationError:
		return authenticationProblem(e, host)
	case *fleetssh.PasswordError:
		if e.Kerberos {
			return Problem{Kind: "password", Phase: string(e.Phase), Reason: fmt.Sprintf("%s refused the password of %s; it was not tried again", e.RefusedBy, e.User), Tries: 1}
		}
		return Problem{Kind: "password", Phase: string(e.Phase), Reason: fmt.Sprintf("%s refused the password; it was not sent to this host", e.RefusedBy), Tries: 1}
	case *fleetssh.ProxyError:
		p := ProblemOf(e.Err, &fleetssh.HostConfig{Host: e.Hop})
		if p.Key != nil {
			p.Key.Hop = p.Key.Name
		}
		p.Kind, p.Phase, p.Reason = "proxy", "proxy", "at the hop "+e.Hop+": "+p.Reason
		if strings.HasPrefix(e.Hop, "command ") && strings.Contains(p.Reason, "Permission denied") {
			p.Hint = "the command asks only on a terminal; without one it needs a key, from the SSH agent or a file"
		}
		return p
	case *fleetssh.TimeoutError:
		return timeoutProblem(e)
	case *fleetssh.PKeyFileError:
		return keyFileProblem(e)
	case *fleetssh.SessionError:
		p := Problem{Kind: "session", Phase: string(e.Phase), Reason: exit.Reason(e.Err), Tries: 1}
		if errors.Is(e.Err, fleetssh.ErrTerminalRequired) {
			p.Hint = "--tty asks for a terminal"
		}
		return p
	case *fleetssh.CopyError:
		return CopyProblem(e)
	case *fleetssh.HostArgumentError:
		return Problem{Kind: "host_argument", Reason: e.Reason}
	case *fleetssh.ConfigError:
		return configProblem(e)
	case nil:
		return Problem{}
	}
	return Problem{Kind: "connection", Phase: "connect", Reason: err.Error()}
}

// excludeHint is a placeholder for the hint to exclude hosts. Failures replaces it, because it knows
// all hosts of the group.
const excludeHint = "-x leaves out"

// configProblem returns why a host cannot be used.
func configProblem(e *fleetssh.ConfigError) Problem {
	p := Problem{Kind: "config", Phase: "config", Reason: e.Reason}
	if setting, ok := errors.AsType[*inventory.SettingError](e.Err); ok {
		p.Reason = setting.Setting + ": " + setting.Reason
	}
	p.Hint = excludeHint
	if errors.Is(e.Err, account.ErrNoEntry) {
		p.Hint = "name the user with -l"
	}
	if f, ok := errors.AsType[*exit.Error](e.Err); ok && f.Hint != "" {
		p.Hint = f.Hint
	}
	return p
}

// maxPathShown is the largest number of bytes of a path that are shown.
const maxPathShown = 400

// CopyProblem explains a failed file operation. It says whether the file is local.
func CopyProblem(e *fleetssh.CopyError) Problem {
	where := e.Path
	if len(where) > maxPathShown { // a host can send a name of any length
		where = strings.ToValidUTF8(where[:maxPathShown], "") + "…"
	}
	if e.Local {
		where = "local " + where
	}
	return Problem{Kind: "copy", Phase: string(e.Op), Reason: fmt.Sprintf("cannot %s %s: %s", e.Op, where, exit.Reason(e.Err)), Tries: 1}
}

func authenticationProblem(e *fleetssh.AuthenticationError, host *fleetssh.HostConfig) Problem {
	p := Problem{Kind: "authentication", Phase: "auth", banner: e.Banner, Tries: 1}
	if e.Expired {
		p.Reason = fmt.Sprintf("the password of %s has expired and must be changed", e.User)
		p.Hint = "ssh " + shellquote.Quote(e.User+"@"+host.Host)
		if port := selection.PortOf(host); port != 22 {
			p.Hint = fmt.Sprintf("ssh -p %d %s", port, shellquote.Quote(e.User+"@"+host.Host))
		}
		return p
	}
	p.Reason = fmt.Sprintf("login as %s refused", e.User)
	if len(e.Tried) > 0 {
		p.Reason += " (tried " + strings.Join(e.Tried, ", ") + ")"
	}
	if e.Err != nil {
		p.Reason += ": " + e.Err.Error()
	}
	const most = 4
	for i, key := range e.Keys {
		if i == most {
			p.Detail = append(p.Detail, fmt.Sprintf("offered %d more keys", len(e.Keys)-most))
			break
		}
		p.Detail = append(p.Detail, "offered "+key)
	}
	p.Hint = "name the user with -l, the key with -i, or use ssh-add or --ask-pass"
	return p
}

func timeoutProblem(e *fleetssh.TimeoutError) Problem {
	p := Problem{Kind: "timeout", Phase: string(e.Phase), Tries: max(e.Attempts, 1), Reason: "timed out"}
	switch {
	case e.Err != nil:
		p.Reason = e.Err.Error()
	case e.Phase == fleetssh.PhaseRun:
		p.Reason = "after " + ShortDuration(e.After)
	case e.After > 0:
		p.Reason = "no answer within " + ShortDuration(e.After)
	}
	p.Reason += receivedText(e.Said) + attemptsText(e.Attempts)
	return p
}

// receivedText quotes what a host has sent instead of its SSH version.
func receivedText(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(`: it said "%s"`, said)
}

func keyFileProblem(e *fleetssh.PKeyFileError) Problem {
	p := Problem{Kind: "pkey_file", Phase: "auth", Reason: exit.Reason(e.Err)}
	if e.Path != "" {
		p.Reason = e.Path + ": " + p.Reason
	}
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](e.Err); ok {
		p.Hint = "ssh-add loads the key into the agent"
	}
	return p
}

func attemptsText(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d attempts)", n)
}

// ShortDuration formats a duration with two digits, without units that are zero.
func ShortDuration(d time.Duration) string {
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

// ColumnTime formats a duration in few characters, for columns.
func ColumnTime(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%.1fms", float64(d)/1e6)
}

// maxBannerLines is the largest number of lines of a banner that are shown.
const maxBannerLines = 20

// BannerLines returns the lines of a banner, at most maxBannerLines of them.
func BannerLines(text string) []string {
	lines := strings.Split(text, "\n")
	if len(lines) > maxBannerLines {
		left := len(lines) - maxBannerLines
		lines = append(lines[:maxBannerLines:maxBannerLines], fmt.Sprintf("… (%d lines more)", left))
	}
	return lines
}
