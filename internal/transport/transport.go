// Package transport makes connections to hosts: over TCP, through SOCKS and HTTP proxies, to Unix
// sockets, and with commands whose standard input and output are the connection. Proxies and
// commands are a [DialFunc]. The package does not depend on the protocol over the connection.
package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"
)

// DialFunc connects to addr, which is "host:port"; network is "tcp", "tcp4" or "tcp6". ctx applies
// until it returns, and does not affect the connection afterwards. A failed call leaves no
// goroutine, descriptor or process behind. It may be called concurrently.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Error means that a connection through a proxy or command failed. If the context ended it,
// errors.Is finds the cause of the context.
type Error struct {
	// Proxy is the URL of the proxy without user and password, or "command" and the name of the
	// program.
	Proxy string

	// Addr is the address of the target.
	Addr string

	// Target says that the proxy is not at fault: it reports that it cannot reach Addr, or the
	// name in Addr does not resolve, or Addr cannot be sent to a proxy. If it is false, the
	// proxy cannot be reached, refuses the request, or speaks another protocol.
	Target bool

	// Argument says that Addr or another argument is not valid for the proxy. Nothing was
	// tried, and another attempt would fail in the same way. Target is true as well.
	Argument bool

	Err error
}

// Error implements [error].
func (e *Error) Error() string {
	if e.Target {
		return "proxy " + e.Proxy + " cannot reach " + e.Addr + ": " + e.Err.Error()
	}
	return "proxy " + e.Proxy + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// errTarget marks an error of which the target is the cause, not the proxy.
type errTarget struct{ error }

func (e errTarget) Unwrap() error { return e.error }

// errArgument marks an error for an argument that cannot be sent to a proxy or put into a command
// line.
type errArgument struct{ error }

func (e errArgument) Unwrap() error { return e.error }

// newError returns err as an [*Error].
func newError(proxy, addr string, err error) *Error {
	switch e := err.(type) {
	case errTarget:
		return &Error{Proxy: proxy, Addr: addr, Target: true, Err: e.error}
	case errArgument:
		return &Error{Proxy: proxy, Addr: addr, Target: true, Argument: true, Err: e.error}
	}
	return &Error{Proxy: proxy, Addr: addr, Err: plain(err)}
}

// exitError says how the process of a [Program] ended before it wrote anything.
type exitError struct {
	text   string
	failed bool // it exited with an error status or was ended by a signal
}

func (e *exitError) Error() string { return e.text }

// Failed reports whether err means that a [Program] exited with an error, or was ended by a signal,
// before it wrote anything.
func Failed(err error) bool {
	e, ok := errors.AsType[*exitError](err)
	return ok && e.failed
}

// A Terminal lends the terminal of this process to a [Program] that wants to use it for a host. It
// waits until the terminal is free. The program is in the foreground until it has written its first
// byte or has ended. giveBack then gets the signal that ended the program, or nil. Linux only: on
// other systems, programs have no terminal.
type Terminal = func(ctx context.Context, host string) (tty *os.File, giveBack func(os.Signal), err error)

// plain drops the addresses and the name of the system call from a network error. Messages contain
// the address already.
func plain(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errHungUp
	}
	if op, ok := err.(*net.OpError); ok {
		if number, ok := errors.AsType[syscall.Errno](op.Err); ok {
			return number
		}
		return op.Err
	}
	return err
}

var (
	errHungUp = &hungUp{"it closed the connection"}
	// A SOCKS proxy may close the connection in place of a reply.
	errNoAnswer = &hungUp{"it closed the connection without an answer, as ssh -D does when it cannot reach the host"}
)

// hungUp is io.ErrUnexpectedEOF with another text.
type hungUp struct{ text string }

func (e *hungUp) Error() string { return e.text }
func (*hungUp) Unwrap() error   { return io.ErrUnexpectedEOF }

// harmless returns a foreign text for a message: at most limit characters, with "?" in place of
// characters that are not printable.
func harmless(text string, limit int) string {
	var b strings.Builder
	for n, r := range []rune(text) {
		switch {
		case n == limit:
			return b.String() + "…"
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}
