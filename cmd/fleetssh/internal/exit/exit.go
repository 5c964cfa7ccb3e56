// Package exit knows what the program ends with: its exit codes, and the errors that carry one
// together with a message and the next step.
package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// The exit codes. [Codes] says what each means.
const (
	OK          = 0
	Failed      = 1
	Usage       = 2
	Stopped     = 3
	Unreachable = 4
	Command     = 5
	Budget      = 6
	Interrupted = 130
)

// Codes are the exit codes and their meanings, as printed at the end of every help.
var Codes = []struct {
	Code int
	Text string
}{
	{OK, "all hosts ran the command and it exited 0"},
	{Failed, "a local error: a file, the terminal, standard output"},
	{Usage, "wrong usage; no host was contacted"},
	{Stopped, "some hosts timed out or were stopped"},
	{Unreachable, "some hosts were not reached or logged in to, did not start, or were lost"},
	{Command, "the command exited non-zero or by a signal on some hosts"},
	{Budget, "hosts were skipped, because too many failed (--batch, --max-fail)"},
	{Interrupted, "interrupted"},
}

// priority lists the codes by importance: where several apply, the first counts.
var priority = []int{Interrupted, Budget, Stopped, Unreachable, Command, OK}

// Status is an error that ends the program with a code and no message: everything was said.
type Status int

// Error implements [error].
func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// ProcessCode returns a code as a process can end with it. The system keeps its lowest eight
// bits, but RFC 4254 gives an exit status of a host 32: one that does not fit must not end as 0.
func ProcessCode(code int) int {
	if code < 0 || code > 255 {
		return 255
	}
	return code
}

// Error is an error that ends the program with a code and a message.
type Error struct {
	Code int
	Text string
	Hint string // the next step; empty if none is known
}

// Error implements [error].
func (f *Error) Error() string { return f.Text }

// UsageError returns an error that ends the program with [Usage]. The hint may be empty.
func UsageError(hint, format string, args ...any) error {
	return &Error{Code: Usage, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// AsUsage makes an error one of wrong usage. It returns nil for nil.
func AsUsage(err error) error {
	if err == nil {
		return nil
	}
	return UsageError("", "%v", err)
}

// Report shows an error of a verb and returns the exit code for it.
func Report(screen *termline.Screen, err error) int {
	if err == nil {
		return OK
	}
	if status, ok := errors.AsType[Status](err); ok {
		return ProcessCode(int(status))
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	f, ok := errors.AsType[*Error](err)
	if !ok {
		f = &Error{Code: Failed, Text: err.Error()}
	}
	screen.Message("fleetssh: error: " + f.Text)
	if f.Hint != "" {
		screen.Message("hint: " + f.Hint)
	}
	return f.Code
}

// OutputError returns the error for standard output that cannot be written. It is silent if the
// reader has gone away, as in a pipe into head.
func OutputError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return Status(Failed)
	}
	return fmt.Errorf("standard output: %s", Reason(err))
}

// Help is the table of exit codes for help texts.
func Help() string {
	var b strings.Builder
	b.WriteString("Exit codes (the first that applies of 130, 6, 3, 4, 5):\n")
	for _, c := range Codes {
		fmt.Fprintf(&b, "  %-4d %s\n", c.Code, c.Text)
	}
	return b.String()
}

// CodeOf returns the exit code that the outcome of one host calls for.
func CodeOf(o fleetssh.Outcome) int {
	switch o.Kind {
	case fleetssh.Exited:
		if o.ExitCode == 0 {
			return OK
		}
		return Command
	case fleetssh.Signaled:
		return Command
	case fleetssh.TimedOut, fleetssh.Cancelled, fleetssh.Skipped:
		return Stopped
	default:
		return Unreachable
	}
}

// First returns the code of several that counts.
func First(codes map[int]bool) int {
	for _, code := range priority {
		if codes[code] {
			return code
		}
	}
	return OK
}

// Reason returns the text of an error without the operation and the address that the
// operating system's library puts in front of it: those are named beside the reason.
func Reason(err error) string {
	if err == nil {
		return "no reason given"
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Err
	}
	if errors.Is(err, context.Canceled) {
		return "stopped"
	}
	if e, ok := err.(*net.OpError); ok {
		return Reason(e.Err)
	}
	if e, ok := err.(*os.SyscallError); ok {
		return e.Err.Error()
	}
	if e, ok := err.(*os.PathError); ok {
		return e.Err.Error()
	}
	return err.Error()
}
