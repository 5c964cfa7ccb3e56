package main

import (
	"context"
	"fmt"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// result is how the work on one host ended.
type result struct {
	index     int
	outcome   fleetssh.Outcome
	ok        bool
	problem   problem // zero if there is none
	message   string  // the error of the library in full
	timing    fleetssh.Timing
	truncated bool
	logins    []fleetssh.Login     // of check
	copied    *fleetssh.CopyResult // of put and get
	after     time.Duration        // since the run began
}

// tally counts how hosts ended.
type tally struct {
	hosts       []selection.Host
	begun       time.Time
	results     []result // in the order in which the hosts ended
	interrupted bool
	stopped     string       // why no more hosts were begun: too many failed; empty: they were all begun
	policy      string       // of exit codes: worst, max or none
	sudoMute    bool         // sudo had no password to answer with
	brief       bool         // failures are shown below each line of a dialogue
	trouble     bool         // something went wrong here, and was said
	waiting     *outstanding // nil: nobody asks
}

func newTally(hosts []selection.Host) *tally {
	return &tally{hosts: hosts, begun: time.Now(), waiting: newOutstanding(hosts)}
}

// add notes the end of a command.
func (t *tally) add(ev fleetssh.Event) *result {
	out := ev.Output
	r := result{index: ev.Host, outcome: out.Outcome(), timing: out.Timing()}
	r.truncated = out.Stdout.Truncated() || out.Stderr.Truncated()
	r.ok = r.outcome == fleetssh.Outcome{Kind: fleetssh.Exited}
	switch r.outcome.Kind {
	case fleetssh.Exited:
		if t.sudoMute && r.outcome.ExitCode == 1 { // what sudo exits with if it gets none
			r.problem.hint = "if sudo asks for a password there, --ask-sudo-pass gives it one; if it wants a terminal, --tty"
		}
	case fleetssh.Signaled, fleetssh.Skipped, fleetssh.Cancelled:
	default:
		r.explain(out.WaitFinished(context.Background()), &out.Host) // it has ended: returns why
		if t.sudoMute && r.outcome.Phase == "sudo" {                 // it was no command line, which gets an exit code
			r.problem.hint = "--ask-sudo-pass gives it one"
		}
	}
	return t.put(r)
}

// explain notes why a host ended as it did.
func (r *result) explain(err error, host *fleetssh.HostConfig) {
	r.problem = problemOf(err, host)
	if r.outcome.Kind == fleetssh.Lost {
		r.problem.kind = "lost"
	}
	if r.outcome.Phase != "" {
		r.problem.phase = r.outcome.Phase
	}
	if err != nil {
		r.message = err.Error()
	}
	r.timing.Attempts = max(r.timing.Attempts, r.problem.tries)
}

// put notes a result that is already made.
func (t *tally) put(r result) *result {
	r.after = time.Since(t.begun)
	if t.waiting != nil {
		t.waiting.end(r.index)
	}
	t.results = append(t.results, r)
	return &t.results[len(t.results)-1]
}

// failed returns how many hosts were begun and did not do what was asked of them.
func (t *tally) failed() int {
	return t.count(func(r *result) bool { return !r.ok && r.outcome.Kind != fleetssh.Skipped })
}

// unbegun returns how many hosts were never begun: nothing is known against them.
func (t *tally) unbegun() int {
	return t.count(func(r *result) bool { return r.outcome.Kind == fleetssh.Skipped })
}

func (t *tally) count(is func(*result) bool) int {
	n := 0
	for i := range t.results {
		if is(&t.results[i]) {
			n++
		}
	}
	return n
}

// headline says how many hosts failed, and how many were never begun; it is empty if none did
// and none was left.
func (t *tally) headline() string {
	failed, unbegun := t.failed(), t.unbegun()
	noun := "hosts"
	if len(t.hosts) == 1 {
		noun = "host"
	}
	switch {
	case failed == 0 && unbegun == 0:
		return ""
	case failed == 0:
		return fmt.Sprintf("%d of %d %s never begun", unbegun, len(t.hosts), noun)
	case unbegun == 0:
		return fmt.Sprintf("%d of %d %s failed", failed, len(t.hosts), noun)
	}
	return fmt.Sprintf("%d of %d %s failed, %d never begun", failed, len(t.hosts), noun, unbegun)
}

// exitCode returns what the hosts make the program end with.
func (t *tally) exitCode() int {
	codes := map[int]bool{exit.Interrupted: t.interrupted, exit.Budget: t.stopped != ""}
	largest := 0
	for i := range t.results {
		code := exit.CodeOf(t.results[i].outcome)
		if t.policy == "max" && code == exit.Command {
			largest = max(largest, remoteCode(t.results[i].outcome))
			continue
		}
		codes[code] = true
	}
	switch code := exit.First(codes); {
	case t.policy == "none" && code != exit.Interrupted:
		return exit.OK
	case code != exit.OK:
		return code
	}
	return largest
}

// remoteCode is the exit code of a command as a shell has it, and as a process can end with it.
func remoteCode(o fleetssh.Outcome) int {
	if o.Kind == fleetssh.Exited {
		return exit.ProcessCode(o.ExitCode)
	}
	return 255
}

// err returns what ends the program.
func (t *tally) err() error {
	if code := t.exitCode(); code != exit.OK {
		return exit.Status(code)
	}
	if t.trouble {
		return exit.Status(exit.Failed)
	}
	return nil
}
