package results

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// AddCopy adds the result of a copy.
func (t *Summary) AddCopy(index int, c fleetssh.CopyResult) *Result {
	r := Result{Index: index, Outcome: c.Outcome, Timing: c.Timing(), Copied: &c}
	r.OK = r.Outcome == fleetssh.Outcome{Kind: fleetssh.Exited}
	if r.Outcome.Kind != fleetssh.Skipped && r.Outcome.Kind != fleetssh.Cancelled {
		r.explain(c.Err, &c.Host)
	}
	fault, _ := errors.AsType[*fleetssh.CopyError](c.Err)
	switch {
	case r.Problem.Phase == "subsystem":
		r.Problem.Hint = "--protocol scp copies without an SFTP server"
	case t.NoSudoPassword && (fault != nil && fault.Op == fleetssh.OpInstall || r.Outcome.Phase == fleetssh.PhaseSudo):
		r.Problem.Hint = "if sudo asks for a password, add --ask-sudo-pass"
	case fault != nil && !fault.Local && errors.Is(fault, fs.ErrPermission) && slices.Contains([]fleetssh.CopyOp{fleetssh.OpCreate, fleetssh.OpWrite, fleetssh.OpLink, fleetssh.OpRename}, fault.Op):
		r.Problem.Hint = "--sudo writes the files as root; --owner and --mode set both"
	}
	return t.AddResult(r)
}

// copyTitle is Title for a copy. The title is empty if it is the same as for a command.
func (r *Result) copyTitle() (string, int) {
	switch o := r.Outcome; o.Kind {
	case fleetssh.Exited:
		return "not everything was copied", 8
	case fleetssh.Cancelled:
		if !o.MayHaveRun() {
			return "stopped before the copy started", 3
		}
		return "stopped during the copy", 0
	case fleetssh.TimedOut:
		return "timed out during the copy", 1
	case fleetssh.Lost:
		return "lost during the copy", 2
	}
	return "", 0
}

// Unfinished reports whether a copy ended before it was complete.
func (r *Result) Unfinished() bool {
	switch r.Outcome.Kind {
	case fleetssh.Cancelled:
		return r.Outcome.MayHaveRun()
	case fleetssh.TimedOut, fleetssh.Lost:
		return true
	}
	return false
}

// CopiedText returns what was copied to or from a host. It is empty if nothing was.
func (r *Result) CopiedText() string {
	c, rest := r.Copied, "failed"
	if r.Unfinished() {
		rest = "unfinished"
	}
	var more []string
	add := func(n int, what string) {
		if n > 0 {
			more = append(more, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.Skipped, "already there")
	add(c.Deleted, "deleted")
	add(c.Failed, rest)
	if c.Files == 0 && c.Bytes == 0 && len(more) == 0 {
		return ""
	}
	noun := "files"
	if c.Files == 1 {
		noun = "file"
	}
	text := fmt.Sprintf("%d %s, %s", c.Files, noun, flagvalue.SizeText(c.Bytes))
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return text
}

// FailedText returns why a file was not copied. It is empty if the file was copied, or if the result
// of the host has the reason.
func FailedText(p fleetssh.CopyProgress) string {
	fault, ok := p.Err.(*fleetssh.CopyError)
	if !p.Ended || !ok || errors.Is(fault, context.Canceled) || errors.Is(fault, context.DeadlineExceeded) {
		return ""
	}
	return termline.Visible(ProblemOf(fault, &p.Host).Reason)
}
