// Package results collects how hosts ended: it counts outcomes, groups failures with reasons and
// hints, computes exit codes, and tracks which hosts are outstanding.
package results

import (
	"context"
	"fmt"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
)

// Result is the result of one host.
type Result struct {
	Index     int
	Outcome   fleetssh.Outcome
	OK        bool
	Problem   Problem // zero if there is none
	Message   string  // the full error of the library
	Timing    fleetssh.Timing
	Truncated bool
	Logins    []fleetssh.Login     // what check shows
	Copied    *fleetssh.CopyResult // set by put and get
	Waited    *Waited              // set by wait and reboot
	Differs   bool                 // put --check has found differences
	After     time.Duration        // since the run began
}

// Waited is how waiting for a host ended.
type Waited struct {
	For    time.Duration // how long, from the first attempt
	Ended  string        // in words, if it is as it should be
	Failed string        // in words, if it was given up
}

// Summary collects how the hosts of a run ended.
type Summary struct {
	Hosts          []selection.Host
	Begun          time.Time
	Results        []Result // in the order in which the hosts ended
	Interrupted    bool
	Stopped        string       // why hosts were skipped; empty if none were
	Policy         string       // which exit code counts: worst, max or none (--exit-policy)
	NoSudoPassword bool         // there is no password for sudo
	Brief          bool         // one line for each group of failures, as in fleetssh shell
	LocalError     bool         // a local error was reported
	Outstanding    *Outstanding // nil: not needed
}

// New returns the counts of a run on hosts that begins now.
func New(hosts []selection.Host) *Summary {
	return &Summary{Hosts: hosts, Begun: time.Now(), Outstanding: newOutstanding(hosts)}
}

// Add adds the result of a command.
func (t *Summary) Add(ev fleetssh.Event) *Result {
	out := ev.Output
	r := Result{Index: ev.Index, Outcome: out.Outcome(), Timing: out.Timing()}
	r.Truncated = out.Stdout.Truncated() || out.Stderr.Truncated()
	r.OK = r.Outcome == fleetssh.Outcome{Kind: fleetssh.Exited}
	switch r.Outcome.Kind {
	case fleetssh.Exited:
		if t.NoSudoPassword && r.Outcome.ExitCode == 1 { // sudo exits with 1 if it gets no password
			r.Problem.Hint = "if sudo asks for a password, add --ask-sudo-pass; if it wants a terminal, add --tty"
		}
	case fleetssh.Signaled, fleetssh.Skipped, fleetssh.Cancelled:
	default:
		r.explain(out.WaitFinished(context.Background()), &out.Host)   // it has ended: returns the error
		if t.NoSudoPassword && r.Outcome.Phase == fleetssh.PhaseSudo { // sudo itself failed
			r.Problem.Hint = "add --ask-sudo-pass"
		}
	}
	return t.AddResult(r)
}

// explain sets why a host failed.
func (r *Result) explain(err error, host *fleetssh.HostConfig) {
	r.Problem = ProblemOf(err, host)
	if r.Outcome.Kind == fleetssh.Lost {
		r.Problem.Kind = "lost"
	}
	if r.Outcome.Phase != "" {
		r.Problem.Phase = string(r.Outcome.Phase)
	}
	if err != nil {
		r.Message = err.Error()
	}
	r.Timing.Attempts = max(r.Timing.Attempts, r.Problem.Tries)
}

// AddResult adds a result.
func (t *Summary) AddResult(r Result) *Result {
	r.After = time.Since(t.Begun)
	if t.Outstanding != nil {
		t.Outstanding.hostFinished(&r)
	}
	t.Results = append(t.Results, r)
	return &t.Results[len(t.Results)-1]
}

// elapsed returns how long the hosts have taken: until the last one ended, however long the user looks at
// a full-screen view then.
func (t *Summary) elapsed() time.Duration {
	if n := len(t.Results); n == len(t.Hosts) && n > 0 {
		return t.Results[n-1].After
	}
	return time.Since(t.Begun)
}

// Failed returns how many hosts failed. Skipped hosts do not count.
func (t *Summary) Failed() int {
	return t.count(func(r *Result) bool { return !r.OK && r.Outcome.Kind != fleetssh.Skipped })
}

// Skipped returns how many hosts were skipped: no work was started on them.
func (t *Summary) Skipped() int {
	return t.count(func(r *Result) bool { return r.Outcome.Kind == fleetssh.Skipped })
}

// count returns the number of results for which is returns true.
func (t *Summary) count(is func(*Result) bool) int {
	n := 0
	for i := range t.Results {
		if is(&t.Results[i]) {
			n++
		}
	}
	return n
}

// headline returns how many hosts failed and how many were skipped. It is empty if there are neither.
func (t *Summary) headline() string {
	failed, unbegun := t.Failed(), t.Skipped()
	noun := "hosts"
	if len(t.Hosts) == 1 {
		noun = "host"
	}
	switch {
	case failed == 0 && unbegun == 0:
		return ""
	case failed == 0:
		return fmt.Sprintf("%d of %d %s skipped", unbegun, len(t.Hosts), noun)
	case unbegun == 0:
		return fmt.Sprintf("%d of %d %s failed", failed, len(t.Hosts), noun)
	}
	return fmt.Sprintf("%d of %d %s failed, %d skipped", failed, len(t.Hosts), noun, unbegun)
}

// ExitCode returns the exit code of the program for all results.
func (t *Summary) ExitCode() int {
	codes := map[int]bool{exit.Interrupted: t.Interrupted, exit.Budget: t.Stopped != ""}
	largest := 0
	for i := range t.Results {
		code := exit.CodeOf(t.Results[i].Outcome)
		if t.Policy == "max" && code == exit.Command {
			largest = max(largest, remoteCode(t.Results[i].Outcome))
			continue
		}
		codes[code] = true
	}
	switch code := exit.First(codes); {
	case t.Policy == "none" && code != exit.Interrupted:
		return exit.OK
	case code != exit.OK:
		return code
	}
	return largest
}

// remoteCode returns the exit code of a command as a shell would report it.
func remoteCode(o fleetssh.Outcome) int {
	if o.Kind == fleetssh.Exited {
		return exit.ProcessCode(o.ExitCode)
	}
	return 255
}

// Err returns the error that ends the program, nil if no host failed.
func (t *Summary) Err() error {
	if code := t.ExitCode(); code != exit.OK {
		return exit.Status(code)
	}
	if t.LocalError {
		return exit.Status(exit.Failed)
	}
	return nil
}

// Fold formats the labels of hosts as a host set.
func (t *Summary) Fold(hosts []int) string {
	labels := make([]string, len(hosts))
	for i, index := range hosts {
		labels[i] = t.Hosts[index].Label
	}
	return hostset.Of(labels...).String()
}

// Counted formats the labels of hosts as a host set, with their number if there are several.
func (t *Summary) Counted(hosts []int) string {
	labels := make([]string, len(hosts))
	for i, index := range hosts {
		labels[i] = t.Hosts[index].Label
	}
	return CountedNames(labels)
}

// Uncertain reports whether the command may have run, or may still run, without a confirmed outcome.
func (r *Result) Uncertain() bool {
	switch r.Outcome.Kind {
	case fleetssh.Lost:
		return true
	case fleetssh.TimedOut, fleetssh.Cancelled:
		return r.Outcome.MayHaveRun() && !r.Outcome.Stopped
	}
	return false
}

// LoginResult returns the result of a login. One that worked counts as a command that exited 0.
func LoginResult(i int, host *fleetssh.HostConfig, connection *fleetssh.Client, err error) Result {
	r := Result{Index: i, Problem: ProblemOf(err, host)}
	if err == nil {
		r.OK, r.Timing, r.Outcome.Kind = true, connection.Timing(), fleetssh.Exited
		r.Logins = connection.Logins()
		return r
	}
	r.Message = err.Error()
	r.Timing.Attempts = r.Problem.Tries
	r.Outcome = fleetssh.OutcomeOf(err)
	if r.Outcome.Kind == fleetssh.Cancelled {
		r.Problem = Problem{}
	}
	return r
}

// LoginOutcome returns the outcome of a login. Nothing ran, so "exited" becomes "ok".
func (r *Result) LoginOutcome() string {
	if r.OK {
		return "ok"
	}
	return r.Outcome.Kind.String()
}
