package fleetssh

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, c, stop := startClock(t.Context(), 10*time.Second)
		defer stop()
		time.Sleep(4 * time.Second)
		resume := c.pause()
		again := c.pause()
		time.Sleep(time.Hour)
		again()
		time.Sleep(time.Hour)
		resume()
		<-ctx.Done()
		if took := time.Since(begun); took != 2*time.Hour+10*time.Second {
			t.Errorf("the clock ran out after %v", took)
		}
		if err := causeOf(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestCauses(t *testing.T) {
	t.Parallel()
	own := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := causeOf(ctx); err != nil {
		t.Errorf("before the end: %v", err)
	}
	cancel(own)
	if err := causeOf(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, own) || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
	// A caller's own cause makes no difference to the outcome.
	for _, test := range []struct {
		phase string
		want  Outcome
	}{
		{"connect", Outcome{Kind: Cancelled, Phase: "connect"}},
		{"open", Outcome{Kind: Cancelled, Phase: "open"}},
		{"exec", Outcome{Kind: Cancelled}},
	} {
		err := interrupted(ctx, nil, &HostConfig{Host: "h"}, test.phase, 0, 0)
		if got := outcomeOf(err); got != test.want {
			t.Errorf("%s: %+v", test.phase, got)
		}
	}
	if got := outcomeOf(skipped(ctx)); got.Kind != Skipped {
		t.Errorf("skipped: %+v", got)
	}
}
