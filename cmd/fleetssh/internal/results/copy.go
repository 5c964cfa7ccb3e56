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
	"fleetssh/cmd/fleetssh/internal/selection"
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
	rest := "failed"
	if r.Unfinished() {
		rest = "unfinished"
	}
	return countsOf(r.Copied).text("", rest)
}

// UnfinishedText is CopiedText without the bytes.
func (r *Result) UnfinishedText() string {
	return fmt.Sprintf("%s (%d unfinished)", countFiles(r.Copied.Files), r.Copied.Failed)
}

// copyCounts is what a copy did.
type copyCounts struct {
	files, skipped, deleted, failed int
	bytes                           int64
}

func countsOf(c *fleetssh.CopyResult) copyCounts {
	return copyCounts{files: c.Files, skipped: c.Skipped, deleted: c.Deleted, failed: c.Failed, bytes: c.Bytes}
}

// text formats the counts; rest is what happened to the files that failed. It is empty if nothing
// happened.
func (c copyCounts) text(each, rest string) string {
	var more []string
	add := func(n int, what string) {
		if n > 0 {
			more = append(more, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.skipped, "already there")
	add(c.deleted, "deleted")
	add(c.failed, rest)
	if c.files == 0 && c.bytes == 0 && len(more) == 0 {
		return ""
	}
	text := FilesText(c.files, c.bytes, each)
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return text
}

// FilesText formats a number of files and their bytes; each is " each" if every host has so many, or
// empty.
func FilesText(files int, bytes int64, each string) string {
	return countFiles(files) + each + ", " + flagvalue.SizeText(bytes)
}

func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprint(n, " files")
}

// Amount is how much is copied to a host.
type Amount struct {
	Files int
	Bytes int64
}

// AmountsText formats how much is copied to all hosts. Without amounts, they are not known.
func AmountsText(amounts []Amount) string {
	if len(amounts) == 0 {
		return "sizes are not known"
	}
	var sum Amount
	each := " each"
	for _, a := range amounts {
		if a != amounts[0] {
			each = ""
		}
		sum.Files += a.Files
		sum.Bytes += a.Bytes
	}
	if each != "" {
		sum = amounts[0]
	}
	return FilesText(sum.Files, sum.Bytes, each)
}

// CopyTotal returns what was copied to or from all hosts, in one line.
func (t *Summary) CopyTotal() string {
	var sum, first copyCounts
	same, seen := true, false
	for i := range t.Results {
		c := t.Results[i].Copied
		if c == nil {
			continue
		}
		one := countsOf(c)
		if one == (copyCounts{}) && !t.Results[i].OK {
			continue // it never came so far
		}
		if !seen {
			first, seen = one, true
		}
		same = same && one == first
		sum.files += one.files
		sum.skipped += one.skipped
		sum.deleted += one.deleted
		sum.failed += one.failed
		sum.bytes += one.bytes
	}
	text := "nothing was copied"
	switch {
	case same && first != (copyCounts{}):
		text = first.text(" each", "not copied")
	case sum != (copyCounts{}):
		text = sum.text("", "not copied")
	}
	text = fmt.Sprintf("%s: %s in %s", selection.CountHosts(len(t.Hosts)), text, ShortDuration(t.elapsed()))
	if n := t.Failed(); n > 0 {
		text += fmt.Sprintf("; %d failed", n)
	}
	if n := t.Skipped(); n > 0 {
		text += fmt.Sprintf("; %d skipped", n)
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
