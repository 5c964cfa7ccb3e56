package fleetssh

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"fleetssh/internal/transport"
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

// A command that talks to people has more time, up to its first byte.
func TestClockRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, c, stop := startClock(t.Context(), 30*time.Second)
		defer stop()
		c.restart(10 * time.Minute)
		time.Sleep(5 * time.Minute)
		resume := c.pause()
		time.Sleep(time.Hour)
		c.restart(30 * time.Second) // while it stands still
		resume()
		time.Sleep(20 * time.Second)
		if ctx.Err() != nil || c.allowed() != 30*time.Second {
			t.Errorf("%v, %v", ctx.Err(), c.allowed())
		}
		<-ctx.Done()
		if took := time.Since(begun); took != time.Hour+5*time.Minute+30*time.Second {
			t.Errorf("the clock ran out after %v", took)
		}
		c.restart(time.Hour) // too late
	})
}

// A command that nobody answers to is given its time once, unless a time is set.
func TestCommandPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for limit, want := range map[time.Duration]time.Duration{0: commandPatience, time.Minute: 2*time.Minute + time.Second} {
			host := HostConfig{
				Host: "h", User: "u", Attempts: 2, RetryDelay: time.Second, ConnectTimeout: limit, HostKeys: InsecureIgnoreHostKeys(),
				Auth: Auth{NoAgent: true, NoDefaultKeys: true},
			}
			host.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				transport.TraceOf(ctx).Started()
				ours, theirs := net.Pipe()
				go func() { // it takes what is said, and says nothing
					_, _ = io.Copy(io.Discard, theirs)
					theirs.Close()
				}()
				return ours, nil
			}
			begun := time.Now()
			_, err := Dial(t.Context(), host)
			if _, ok := errors.AsType[*TimeoutError](err); !ok {
				t.Error(err)
			}
			if took := time.Since(begun); took != want {
				t.Errorf("with %v: %v after %v, want %v", limit, err, took, want)
			}
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
		if got := OutcomeOf(err); got != test.want {
			t.Errorf("%s: %+v", test.phase, got)
		}
	}
	if got := OutcomeOf(skipped(ctx)); got.Kind != Skipped {
		t.Errorf("skipped: %+v", got)
	}
}
