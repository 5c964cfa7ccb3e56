package deadline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fleetssh/internal/deadline"
)

func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, c, stop := deadline.Start(t.Context(), 10*time.Second)
		defer stop()
		time.Sleep(4 * time.Second)
		resume := c.Pause()
		again := c.Pause()
		time.Sleep(time.Hour)
		again()
		time.Sleep(time.Hour)
		resume()
		<-ctx.Done()
		if took := time.Since(begun); took != 2*time.Hour+10*time.Second {
			t.Errorf("the clock ran out after %v", took)
		}
		if err := deadline.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// TestClockRestarts changes the limit, as for a command that asks the user: it has more time
// until its first byte.
func TestClockRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, c, stop := deadline.Start(t.Context(), 30*time.Second)
		defer stop()
		c.Restart(10 * time.Minute)
		time.Sleep(5 * time.Minute)
		resume := c.Pause()
		time.Sleep(time.Hour)
		c.Restart(30 * time.Second) // while it is paused
		resume()
		time.Sleep(20 * time.Second)
		if ctx.Err() != nil || c.Limit() != 30*time.Second {
			t.Errorf("%v, %v", ctx.Err(), c.Limit())
		}
		<-ctx.Done()
		if took := time.Since(begun); took != time.Hour+5*time.Minute+30*time.Second {
			t.Errorf("the clock ran out after %v", took)
		}
		c.Restart(time.Hour) // too late
	})
}

func TestCause(t *testing.T) {
	t.Parallel()
	own := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := deadline.Cause(ctx); err != nil {
		t.Errorf("before the end: %v", err)
	}
	cancel(own)
	if err := deadline.Cause(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, own) || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
}
