package fleetssh_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"fleetssh"
)

func TestOutcome(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		outcome fleetssh.Outcome
		text    string
		is      error
	}{
		{fleetssh.Outcome{}, "running", nil},
		{fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3}, "exited 3", nil},
		{fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: "KILL"}, "ended by signal KILL", nil},
		{fleetssh.Outcome{Kind: fleetssh.TimedOut}, "timed out, may still run", context.DeadlineExceeded},
		{fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true}, "timed out and stopped", context.DeadlineExceeded},
		{fleetssh.Outcome{Kind: fleetssh.Lost}, "lost, may have run", nil},
		{fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true}, "cancelled and stopped", context.Canceled},
		{fleetssh.Outcome{Kind: fleetssh.Cancelled, Phase: fleetssh.PhaseAuth}, "cancelled (auth)", context.Canceled},
		{fleetssh.Outcome{Kind: fleetssh.Unreachable, Phase: fleetssh.PhaseAuth}, "unreachable (auth)", nil},
		{fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: fleetssh.PhaseSudo}, "not started (sudo)", nil},
		{fleetssh.Outcome{Kind: fleetssh.NotStarted}, "not started", nil},
		{fleetssh.Outcome{Kind: fleetssh.Skipped}, "skipped", nil},
	} {
		err := test.outcome.Err()
		if test.outcome.OK() || err == nil || err.Error() != test.text || fmt.Sprint(test.outcome) != test.text {
			t.Errorf("%#v: %v, %v", test.outcome, test.outcome, err)
		}
		for _, target := range []error{context.Canceled, context.DeadlineExceeded} {
			if errors.Is(err, target) != (test.is == target) {
				t.Errorf("%v is %v: %v", err, target, errors.Is(err, target))
			}
		}
	}
	success := fleetssh.Outcome{Kind: fleetssh.Exited}
	if !success.OK() || success.Err() != nil || success.String() != "exited 0" {
		t.Errorf("%v", success)
	}
}
