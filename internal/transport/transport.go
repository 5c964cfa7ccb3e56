// Package transport knows the ways to a host that are not plain TCP: SOCKS and
// HTTP proxies, unix sockets, and commands whose standard input and output are the
// connection. Each is a [DialFunc]; what is spoken over the connection is not its
// matter.
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

// DialFunc connects to addr, which is "host:port"; network is "tcp", "tcp4" or
// "tcp6". ctx bounds it until it returns, and has no effect on the connection after
// that. When it fails, nothing is left: no goroutine, descriptor or process. It may
// be called from many goroutines.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Error means that there is no connection through a proxy. What ended the context,
// if that was the reason, can be found with errors.Is.
type Error struct {
	// Proxy is the URL of the proxy without user and password, or "command" and
	// the name of the program.
	Proxy string

	// Addr is what was to be reached.
	Addr string

	// Target says that the proxy is not to blame: it works, and says that it cannot
	// reach Addr; or the host in Addr has no address, or none that a proxy can be
	// told. If false, the proxy itself cannot be reached, refuses, or speaks
	// something else.
	Target bool

	// Argument says that Addr, or another argument, cannot be told to the proxy in any
	// way: nothing was tried, and another attempt ends the same. Target is true then.
	Argument bool

	Err error
}

// Error implements [error].
func (e *Error) Error() string {
	if e.Target {
		return "proxy " + e.Proxy + " does not reach " + e.Addr + ": " + e.Err.Error()
	}
	return "proxy " + e.Proxy + ": " + e.Err.Error()
}

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// errTarget marks an error for which the proxy is not to blame.
type errTarget struct{ error }

func (e errTarget) Unwrap() error { return e.error }

// errArgument marks an error for an argument that no proxy, or no command line, can be given.
type errArgument struct{ error }

func (e errArgument) Unwrap() error { return e.error }

// newError returns the error for what went wrong on the way to addr.
func newError(proxy, addr string, err error) *Error {
	switch e := err.(type) {
	case errTarget:
		return &Error{Proxy: proxy, Addr: addr, Target: true, Err: e.error}
	case errArgument:
		return &Error{Proxy: proxy, Addr: addr, Target: true, Argument: true, Err: e.error}
	}
	return &Error{Proxy: proxy, Addr: addr, Err: plain(err)}
}

// exitError is how the process of a [Program] ended before anything was read.
type exitError struct {
	text   string
	failed bool // it ended by itself, and says that it has failed
}

func (e *exitError) Error() string { return e.text }

// Failed reports whether an error means that a [Program] has ended by itself before
// it sent anything, and said that it has failed.
func Failed(err error) bool {
	e, ok := errors.AsType[*exitError](err)
	return ok && e.failed
}

// A Terminal lends the terminal of this process to a [Program] that wants to use it for
// a host, as soon as it is free: the program is in the foreground until it has sent its
// first byte, or has ended. giveBack gets the signal that ended the program, nil if none
// did. Only Linux lends it; elsewhere programs have no terminal.
type Terminal = func(ctx context.Context, host string) (tty *os.File, giveBack func(os.Signal), err error)

// plain drops from an error of the network what the reader is told anyway: the
// addresses, and the name of the system call.
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
	// A SOCKS proxy may say so with less than an answer.
	errNoAnswer = &hungUp{"it closed the connection without an answer, as ssh -D does when it cannot reach the host"}
)

// hungUp is io.ErrUnexpectedEOF in plain words.
type hungUp struct{ text string }

func (e *hungUp) Error() string { return e.text }
func (*hungUp) Unwrap() error   { return io.ErrUnexpectedEOF }

// harmless makes a foreign text fit to be shown in a line: at most its first
// limit characters, and none that a terminal would act on.
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
