package fleetssh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"fleetssh/internal/sanitize"
)

// mostGreeting is how many bytes are kept of what a host says before its version line.
const mostGreeting = 2 << 10

// greeting is what a host says before SSH begins: lines before its version line (RFC
// 4253, section 4.2), or something else in its place. Only the goroutine that connects
// uses it.
type greeting struct {
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
func (g *greeting) take(p []byte) error {
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

// said returns what the host has said, in one line, empty if nothing.
func (g *greeting) said() string {
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

// notice returns the lines before the version line, as the host has sent them.
func (g *greeting) notice() string { return string(g.text) }

// fault returns what was wrong with what the host has said, nil if nothing was: SSH had
// begun, or the host has said nothing at all, or only that it is busy.
func (g *greeting) fault(err error) error {
	switch {
	case g == nil:
	case errors.Is(err, errSSH1):
		return errSSH1 // without what the SSH library has put around it
	case errors.Is(err, errNotSSH):
		return errNotSSH
	case g.version != "", bytes.HasPrefix(g.line, []byte("SSH-")), g.said() == "", isBusy(g.said()):
	default:
		return errNotSSH
	}
	return nil
}

// busy is what SSH servers say in place of their version when they take no login now.
var busy = []string{penaltyWords, "exceeded maxstartups", "too many", "try again", "busy", "connection refused", "connection limit"}

// penaltyWords are said by sshd to the address of a client that has been refused too
// often (PerSourcePenalties, OpenSSH 9.8): for as long as a login more would not go better.
const penaltyWords = "not allowed at this time"

func isBusy(said string) bool {
	said = strings.ToLower(said)
	for _, words := range busy {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// isPenalty reports whether the host does not let anybody in from here for a while.
func isPenalty(err error) bool {
	e, ok := err.(*ConnectionError)
	return ok && isDropped(err) && strings.Contains(strings.ToLower(e.Said), penaltyWords)
}

// isDropped reports whether the host has ended the connection before it said
// anything, or because it is busy, as sshd does when too many logins are under way
// (MaxStartups).
func isDropped(err error) bool {
	e, ok := err.(*ConnectionError)
	return ok && e.Phase == "handshake" && (errors.Is(e.Err, io.EOF) || errors.Is(e.Err, syscall.ECONNRESET) || errors.Is(e.Err, syscall.EPIPE))
}

// saidText is how an error tells what a host said.
func saidText(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(`: it said "%s"`, said)
}
