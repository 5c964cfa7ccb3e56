package results

import (
	"math"
	"time"

	"fleetssh"
)

// JSONResult is how a host ended, as --format json writes it.
type JSONResult struct {
	Type      string     `json:"type"`
	Time      time.Time  `json:"time"`
	Host      string     `json:"host"`
	Index     int        `json:"index"`
	Outcome   string     `json:"outcome"`
	ExitCode  *int       `json:"exit_code"`
	Signal    *string    `json:"signal"`
	Error     *JSONError `json:"error"`
	Attempts  int        `json:"attempts"`
	ConnectMS float64    `json:"connect_ms"`
	RunMS     float64    `json:"run_ms"`
	Stopped   *bool      `json:"stopped,omitempty"`
	Truncated bool       `json:"truncated,omitempty"`
}

// JSONError is why a host failed.
type JSONError struct {
	Kind    string `json:"kind"`
	Phase   string `json:"phase"`
	Message string `json:"message"`
	Banner  string `json:"banner,omitempty"` // of a host that refused the login
}

// JSONSummary is the last object of a run.
type JSONSummary struct {
	Type      string         `json:"type"`
	Time      time.Time      `json:"time"`
	Hosts     int            `json:"hosts"`
	Outcomes  map[string]int `json:"outcomes"`
	OK        int            `json:"ok"`
	Failed    int            `json:"failed"`
	Skipped   int            `json:"never_begun,omitempty"`
	ElapsedMS float64        `json:"elapsed_ms"`
}

// JSONResult returns how a host ended, as --format json writes it.
func (t *Summary) JSONResult(r *Result) JSONResult {
	o := JSONResult{
		Type: "result", Time: t.Begun.Add(r.After),
		Host: t.Hosts[r.Index].Name, Index: r.Index,
		Outcome:   r.Outcome.Kind.String(),
		Error:     r.JSONError(),
		Attempts:  r.Timing.Attempts,
		ConnectMS: Milliseconds(ConnectTime(r.Timing)),
		RunMS:     Milliseconds(r.Timing.Run),
		Truncated: r.Truncated,
	}
	switch r.Outcome.Kind {
	case fleetssh.Exited:
		o.ExitCode = &r.Outcome.ExitCode
	case fleetssh.Signaled:
		o.Signal = &r.Outcome.Signal
	case fleetssh.TimedOut, fleetssh.Cancelled:
		o.Stopped = &r.Outcome.Stopped
	}
	return o
}

// JSONSummary returns the last object of a run.
func (t *Summary) JSONSummary() JSONSummary {
	s := JSONSummary{
		Type: "summary", Time: time.Now(),
		Hosts:     len(t.Hosts),
		Outcomes:  make(map[string]int),
		Failed:    t.Failed(),
		ElapsedMS: Milliseconds(t.elapsed()),
	}
	s.Skipped = t.Skipped()
	s.OK = t.count(func(r *Result) bool { return r.OK })
	for i := range t.Results {
		s.Outcomes[t.Results[i].Outcome.Kind.String()]++
	}
	return s
}

// JSONError returns the error of a result, nil if it has none.
func (r *Result) JSONError() *JSONError {
	if r.Problem.Kind == "" {
		return nil
	}
	return &JSONError{Kind: r.Problem.Kind, Phase: r.Problem.Phase, Message: r.Message, Banner: r.Problem.banner}
}

// ConnectTime returns the time from the first attempt to reach a host until the login was done.
func ConnectTime(t fleetssh.Timing) time.Duration {
	return t.Resolve + t.Connect + t.Handshake + t.Auth
}

// Milliseconds returns a time in milliseconds, to the microsecond.
func Milliseconds(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
