package fleetssh

import (
	"errors"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// sshError is an error of the SSH library, without its prefixes.
type sshError struct {
	text string
	err  error
}

func (e *sshError) Error() string { return e.text }
func (e *sshError) Unwrap() error { return e.err }

// isNegotiation reports whether the two sides have no algorithm in common.
func isNegotiation(err error) bool {
	_, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	return ok
}

// isUnableToLogIn reports whether the host takes no method at all.
func isUnableToLogIn(err error) bool {
	return strings.Contains(err.Error(), "ssh: unable to authenticate")
}

// isDisconnect reports whether the host ended the connection with a message
// (RFC 4253, section 11.1). The library's type for it is not exported.
func isDisconnect(err error) bool { return strings.Contains(err.Error(), "ssh: disconnect, reason ") }

// plain removes the prefixes that the SSH library puts before its errors.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"ssh: handshake failed: ", "ssh: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// withoutName drops the name from an error of a look-up, whose reader is told it.
func withoutName(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return &lookupError{dns}
	}
	return err
}

type lookupError struct{ err *net.DNSError }

func (e *lookupError) Error() string { return e.err.Err }
func (e *lookupError) Unwrap() error { return e.err }
