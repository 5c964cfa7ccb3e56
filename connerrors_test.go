package fleetssh

import (
	"context"
	"errors"
	"testing"
)

func TestCauses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	// A caller's own cause makes no difference to the outcome.
	for _, test := range []struct {
		phase Phase
		want  Outcome
	}{
		{"connect", Outcome{Kind: Cancelled, Phase: PhaseConnect}},
		{"open", Outcome{Kind: Cancelled, Phase: PhaseOpen}},
		{"exec", Outcome{Kind: Cancelled}},
	} {
		err := interrupted(ctx, nil, &HostConfig{Host: "h"}, test.phase)
		if got := OutcomeOf(err); got != test.want {
			t.Errorf("%s: %+v", test.phase, got)
		}
	}
	if got := OutcomeOf((&ParallelClient{ctx: t.Context()}).skipped(ctx)); got.Kind != Skipped {
		t.Errorf("skipped: %+v", got)
	}
}
