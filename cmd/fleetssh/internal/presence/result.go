package presence

import (
	"context"
	"errors"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
)

// Words are how the end of a watch is shown.
type Words struct {
	Ended  string // a host is as it should be: "answers"
	Failed string // a host was given up: "does not answer"
}

// Result returns the result of a host whose watch has ended. host is its configuration, and index its
// position in the run.
func (w Words) Result(e End, index int, host *fleetssh.HostConfig) results.Result {
	r := results.Result{Index: index, Timing: fleetssh.Timing{Attempts: e.Attempts}}
	r.Waited = &results.Waited{For: e.After, Ended: w.Ended, Failed: w.Failed}
	failed, isFailed := errors.AsType[*FailedError](e.Err)
	givenUp, isGivenUp := errors.AsType[*GivenUp](e.Err)
	switch {
	case e.Err == nil:
		r.OK, r.Outcome.Kind = true, fleetssh.Exited
	case e.Err == ErrNotBegun:
		r.Outcome.Kind = fleetssh.Skipped
	case e.Err == context.Canceled || e.Err == context.DeadlineExceeded:
		r.Outcome = fleetssh.Outcome{Kind: fleetssh.Cancelled, Phase: fleetssh.PhaseConnect}
	case isFailed:
		r.Outcome, r.Message = failed.Outcome, failed.Error()
		r.Problem = results.ProblemOf(failed.Err, host)
		if failed.Err == nil {
			r.Problem = results.Problem{Kind: "session", Phase: string(failed.Outcome.Phase), Reason: failed.Reason}
		}
	case isGivenUp:
		r.Outcome.Kind = fleetssh.TimedOut
		r.Problem = results.Problem{Kind: "timeout", Reason: "after " + results.ShortDuration(givenUp.Limit)}
		if reason := reasonOf(givenUp.Last, host); reason != "" {
			r.Problem.Reason += ": " + reason
		}
		r.Message = e.Err.Error()
	default:
		err := e.Err
		if u, ok := errors.AsType[*unreachable](err); ok {
			err = u.error
		}
		if y, ok := errors.AsType[*NotYet](err); ok && y.Err != nil {
			err = y.Err
		}
		r.Outcome, r.Problem, r.Message = fleetssh.OutcomeOf(err), results.ProblemOf(err, host), err.Error()
	}
	return r
}

// reasonOf returns what the last attempt on a host has found.
func reasonOf(err error, host *fleetssh.HostConfig) string {
	if y, ok := errors.AsType[*NotYet](err); ok {
		return y.Reason
	}
	return strings.TrimSpace(results.ProblemOf(err, host).Reason)
}
