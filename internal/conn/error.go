package conn

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Error is an error with a text for users, such as an error of the SSH library without its
// prefixes.
type Error struct {
	Text string
	Err  error // the cause; Text contains what users need of it
}

// Error implements [error].
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrClosed is the error of calls on a connection that its user has closed.
var ErrClosed = errors.New("closed")

// IsNegotiation reports whether the two sides have no algorithm in common.
func IsNegotiation(err error) bool {
	_, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	return ok
}

// IsUnableToLogIn reports whether the host accepts none of the login methods that were tried.
func IsUnableToLogIn(err error) bool {
	return strings.Contains(err.Error(), "ssh: unable to authenticate")
}

// IsDisconnect reports whether the host ended the connection with a message
// (RFC 4253, section 11.1). The library's type for it is not exported.
func IsDisconnect(err error) bool { return strings.Contains(err.Error(), "ssh: disconnect, reason ") }

// Plain returns the text of an error without the prefixes of the SSH library.
func Plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"ssh: handshake failed: ", "ssh: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
