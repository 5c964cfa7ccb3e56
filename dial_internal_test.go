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
		err := interrupted(ctx, nil, &HostConfig{Host: "h"}, test.phase, 0, 0)
		if got := OutcomeOf(err); got != test.want {
			t.Errorf("%s: %+v", test.phase, got)
		}
	}
	if got := OutcomeOf(skipped(ctx)); got.Kind != Skipped {
		t.Errorf("skipped: %+v", got)
	}
}
