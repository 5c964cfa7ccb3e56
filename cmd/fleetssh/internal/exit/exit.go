// Package exit defines the exit codes of the program, and errors that carry an exit code, a message
// and a hint.
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

// The exit codes. [Codes] explains them.
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

// Codes are the exit codes and their meanings, as printed at the end of every help text.
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
	{Budget, "too many hosts failed, or a gate did (--batch, --max-fail, --gate)"},
	{Interrupted, "interrupted"},
}

// priority lists the codes by importance: if several apply, the first one counts.
var priority = []int{Interrupted, Budget, Stopped, Unreachable, Command, OK}

// Status is an error that ends the program with an exit code and no message, because the cause was
// reported already.
type Status int

// Error implements [error].
func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// ProcessCode returns the exit code of the process for the exit status of a host. RFC 4254 allows 32
// bits, but the system keeps only the lowest eight: a status that does not fit becomes 255, not 0.
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

// AsUsage turns an error into a usage error. It returns nil for nil.
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

// OutputError returns the error for a failed write to standard output. It has no message if the
// reader has closed the pipe, as head does.
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

// LocalHelp is the table of exit codes for verbs that contact no host.
func LocalHelp() string {
	return "Exit codes:\n  0    success\n  1    a local error\n  2    wrong usage\n"
}

// CodeOf returns the exit code for the outcome of one host.
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

// First returns the most important of several codes.
func First(codes map[int]bool) int {
	for _, code := range priority {
		if codes[code] {
			return code
		}
	}
	return OK
}

// Reason returns the text of an error without the operation and the address that packages net and os
// put in front of it: the message names them already.
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
