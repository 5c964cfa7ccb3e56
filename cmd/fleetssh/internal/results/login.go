package results

import "fleetssh"

// OfLogin returns the result of a login. One that worked counts as a command that exited 0.
func OfLogin(i int, host *fleetssh.HostConfig, connection *fleetssh.Client, err error) Result {
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
