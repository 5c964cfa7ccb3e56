package conn

import (
	"bytes"
	"errors"
	"strings"

	"fleetssh/internal/sanitize"
)

// mostGreeting is how many bytes are kept of what a host says before its version line.
const mostGreeting = 2 << 10

// Greeting is what a host says before SSH begins: lines before its version line (RFC
// 4253, section 4.2), or something else in its place. Only the goroutine that connects
// uses it.
type Greeting struct {
	text    []byte // the lines before the version line
	line    []byte // what has come of the next
	version string // the line, once it has come
}

var (
	errSSH1   = errors.New("it speaks SSH 1 only")
	errNotSSH = errors.New("no SSH server")
)

// foreign is how servers of other protocols begin, which wait for their client then:
// HTTP, FTP and SMTP, VNC, an alert of TLS, IMAP and POP3.
var foreign = []string{"HTTP/", "220 ", "220-", "RFB 0", "\x15\x03", "* OK ", "+OK ", "-ERR "}

// take takes what has come. The error says that nothing more need be waited for.
func (g *Greeting) take(p []byte) error {
	if g.version != "" {
		return nil
	}
	for whole := true; whole; {
		var line []byte
		line, p, whole = bytes.Cut(p, []byte("\n"))
		g.line = append(g.line, line[:min(len(line), mostGreeting-len(g.line))]...)
		switch {
		case len(g.text) == 0 && isForeign(g.line):
			return errNotSSH
		case !whole:
		case bytes.HasPrefix(g.line, []byte("SSH-")):
			g.version, g.line = strings.TrimSuffix(string(g.line), "\r"), nil
			if strings.HasPrefix(g.version, "SSH-1.") && !strings.HasPrefix(g.version, "SSH-1.99") {
				return errSSH1
			}
			return nil
		default:
			g.line = append(g.line, '\n')
			g.text = append(g.text, g.line[:min(len(g.line), mostGreeting-len(g.text))]...)
			g.line = g.line[:0]
		}
	}
	return nil
}

func isForeign(line []byte) bool {
	for _, beginning := range foreign {
		if bytes.HasPrefix(line, []byte(beginning)) {
			return true
		}
	}
	return false
}

// Said returns what the host has said, in one line, empty if nothing.
func (g *Greeting) Said() string {
	if g == nil {
		return ""
	}
	text := string(g.text) + string(g.line)
	if strings.HasPrefix(g.version, "SSH-1.") {
		text = g.version
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return sanitize.Line(strings.Join(lines, " / "))
}

// Notice returns the lines before the version line, as the host has sent them.
func (g *Greeting) Notice() string { return string(g.text) }

// Fault returns what was wrong with what the host has said, nil if nothing was: SSH had
// begun, or the host has said nothing at all, or only that it is busy.
func (g *Greeting) Fault(err error) error {
	switch {
	case g == nil:
	case errors.Is(err, errSSH1):
		return errSSH1 // without what the SSH library has put around it
	case errors.Is(err, errNotSSH):
		return errNotSSH
	case g.version != "", bytes.HasPrefix(g.line, []byte("SSH-")), g.Said() == "", isBusy(g.Said()):
	default:
		return errNotSSH
	}
	return nil
}

// busy is what SSH servers say in place of their version when they take no login now.
var busy = []string{PenaltyWords, "exceeded maxstartups", "too many", "try again", "busy", "connection refused", "connection limit"}

// PenaltyWords are said by sshd to the address of a client that has been refused too
// often (PerSourcePenalties, OpenSSH 9.8): for as long as a login more would not go better.
const PenaltyWords = "not allowed at this time"

func isBusy(said string) bool {
	said = strings.ToLower(said)
	for _, words := range busy {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}
