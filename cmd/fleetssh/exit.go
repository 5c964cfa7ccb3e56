package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitStopped     = 3
	exitUnreachable = 4
	exitCommand     = 5
	exitBudget      = 6
	exitInterrupted = 130
)

// exitCodes are what the program ends with, as printed at the end of every help.
var exitCodes = []struct {
	code int
	text string
}{
	{exitOK, "all hosts ran the command and it exited 0"},
	{exitFailed, "something went wrong here: a file, the terminal, standard output"},
	{exitUsage, "wrong usage; no host was contacted"},
	{exitStopped, "some hosts timed out or were stopped"},
	{exitUnreachable, "some could not be reached or logged in to, did not start, or were lost"},
	{exitCommand, "some ran the command and it exited non-zero or by a signal"},
	{exitBudget, "no more hosts were begun, because too many failed (--batch, --max-fail)"},
	{exitInterrupted, "interrupted"},
}

// exitPriority says which code counts where several apply: the first.
var exitPriority = []int{exitInterrupted, exitBudget, exitStopped, exitUnreachable, exitCommand, exitOK}

// exitStatus ends the program with a code and no message: everything was said.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// processCode returns a code as a process can end with it. The system keeps its lowest eight
// bits, but RFC 4254 gives an exit status of a host 32: one that does not fit must not end as 0.
func processCode(code int) int {
	if code < 0 || code > 255 {
		return 255
	}
	return code
}

// fault ends the program with a code and a message.
type fault struct {
	code int
	text string
	hint string // the next step; or empty
}

func (f *fault) Error() string { return f.text }

func usageError(hint, format string, args ...any) error {
	return &fault{code: exitUsage, text: fmt.Sprintf(format, args...), hint: hint}
}

// report shows an error of a verb and returns the exit code for it.
func report(screen *termline.Screen, err error) int {
	if err == nil {
		return exitOK
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return processCode(int(status))
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	f, ok := errors.AsType[*fault](err)
	if !ok {
		f = &fault{code: exitFailed, text: err.Error()}
	}
	screen.Message("fleetssh: error: " + f.text)
	if f.hint != "" {
		screen.Message("hint: " + f.hint)
	}
	return f.code
}

// outputError says that standard output cannot be written. A reader that has
// gone away is no error to speak of.
func outputError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return exitStatus(exitFailed)
	}
	return fmt.Errorf("standard output: %s", innermost(err))
}

// exitHelp is the table of exit codes for help texts.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes, the first that applies of 130, 6, 3, 4, 5:\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "  %-4d %s\n", c.code, c.text)
	}
	return b.String()
}

// exitCodeOf returns the code that one host asks for.
func exitCodeOf(o fleetssh.Outcome) int {
	switch o.Kind {
	case fleetssh.Exited:
		if o.ExitCode == 0 {
			return exitOK
		}
		return exitCommand
	case fleetssh.Signaled:
		return exitCommand
	case fleetssh.TimedOut, fleetssh.Cancelled, fleetssh.Skipped:
		return exitStopped
	default:
		return exitUnreachable
	}
}

// firstExitCode returns the one of the codes that counts.
func firstExitCode(codes map[int]bool) int {
	for _, code := range exitPriority {
		if codes[code] {
			return code
		}
	}
	return exitOK
}
