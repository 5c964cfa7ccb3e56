package conn

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"fleetssh/internal/sanitize"
)

// maxGreeting is how many bytes are kept of what a host sends before its version line.
const maxGreeting = 2 << 10

// Greeting records what a host sends before SSH begins: lines before its version line (RFC 4253,
// section 4.2), or something else in its place. Then it records the version line and the first
// packet. Only the goroutine that connects uses it, except that the one that reads packets records
// them. Summary and Err of a nil Greeting return zero values.
type Greeting struct {
	text    []byte // the lines before the version line
	line    []byte // the received part of the next line
	version string // the version line, once it is complete
	offer   offerReader
}

var (
	errSSH1   = errors.New("it speaks SSH 1 only")
	errNotSSH = errors.New("no SSH server")
)

// otherProtocols are the first bytes from servers of other protocols, which then wait for their
// client: HTTP, FTP and SMTP, VNC, a TLS alert, IMAP and POP3.
var otherProtocols = []string{"HTTP/", "220 ", "220-", "RFB 0", "\x15\x03", "* OK ", "+OK ", "-ERR "}

// record adds received bytes. An error means that waiting for more is of no use.
func (g *Greeting) record(p []byte) error {
	if g.version != "" {
		g.offer.record(p)
		return nil
	}
	for whole := true; whole; {
		var line []byte
		line, p, whole = bytes.Cut(p, []byte("\n"))
		g.line = append(g.line, line[:min(len(line), maxGreeting-len(g.line))]...)
		switch {
		case len(g.text) == 0 && isOtherProtocol(g.line):
			return errNotSSH
		case !whole:
		case bytes.HasPrefix(g.line, []byte("SSH-")):
			g.version, g.line = strings.TrimSuffix(string(g.line), "\r"), nil
			if strings.HasPrefix(g.version, "SSH-1.") && !strings.HasPrefix(g.version, "SSH-1.99") {
				return errSSH1
			}
			g.offer.record(p)
			return nil
		default:
			g.line = append(g.line, '\n')
			g.text = append(g.text, g.line[:min(len(g.line), maxGreeting-len(g.text))]...)
			g.line = g.line[:0]
		}
	}
	return nil
}

func isOtherProtocol(line []byte) bool {
	return slices.ContainsFunc(otherProtocols, func(prefix string) bool { return bytes.HasPrefix(line, []byte(prefix)) })
}

// Summary returns what the host has sent in place of SSH, on one line; "" if nothing.
func (g *Greeting) Summary() string {
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

// Text returns the lines before the version line as the host has sent them.
func (g *Greeting) Text() string { return string(g.text) }

// Version returns the version line of the host.
func (g *Greeting) Version() string { return sanitize.Line(g.version) }

// Offer returns what the host has offered, once the key exchange is done.
func (g *Greeting) Offer() Offer {
	if offer := g.offer.offer.Load(); offer != nil {
		return *offer
	}
	return Offer{}
}

// Err returns the error in what the host has sent: that it speaks another protocol. It returns
// nil if SSH has begun, or if the host has sent nothing or only that it is busy. err is the
// error of the handshake.
func (g *Greeting) Err(err error) error {
	switch {
	case g == nil:
	case errors.Is(err, errSSH1):
		return errSSH1 // without the text that the SSH library has put around it
	case errors.Is(err, errNotSSH):
		return errNotSSH
	case g.version != "", bytes.HasPrefix(g.line, []byte("SSH-")), g.Summary() == "", isBusy(g.Summary()):
	default:
		return errNotSSH
	}
	return nil
}

// busyTexts are sent by SSH servers in place of their version while they take no login.
var busyTexts = []string{PenaltyText, "exceeded maxstartups", "too many", "try again", "busy", "connection refused", "connection limit"}

// PenaltyText is sent by sshd to the address of a client that it has refused too often
// (PerSourcePenalties, OpenSSH 9.8). For as long as it does, another login would be refused too.
const PenaltyText = "not allowed at this time"

func isBusy(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(busyTexts, func(busy string) bool { return strings.Contains(text, busy) })
}
