package dial

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A host that drops connections gets fewer logins at a time, and more again when they succeed.
func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttle := &throttle{most: mostLogins}
		waiting := make(chan error, 1)
		for range mostLogins {
			if err := throttle.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		go func() { waiting <- throttle.enter(t.Context()) }()
		synctest.Wait()
		throttle.leave(false, true) // 7 are left, and 7 may be
		synctest.Wait()
		if len(waiting) > 0 {
			t.Error("a login began although the host has just dropped one")
		}
		throttle.leave(true, false)
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		for range mostLogins - 1 {
			throttle.leave(true, false)
		}
		if throttle.active != 0 || throttle.most != mostLogins-1 {
			t.Errorf("%d at work, of %d", throttle.active, throttle.most)
		}
		for range oneMoreAfter {
			if err := throttle.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			throttle.leave(true, false)
		}
		if throttle.most != mostLogins {
			t.Errorf("after %d logins that succeeded, %d may be at work", oneMoreAfter, throttle.most)
		}
	})
}

// Whoever is interrupted while waiting leaves the turn to others.
func TestThrottleInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttle := &throttle{most: 1}
		if err := throttle.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := throttle.enter(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		throttle.leave(true, false)
		throttle.hold(time.Minute)
		begun := time.Now()
		if err := throttle.enter(t.Context()); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		throttle.leave(true, false)
		if throttle.active != 0 || len(throttle.queue) != 0 {
			t.Errorf("%d at work, %d wait", throttle.active, len(throttle.queue))
		}
	})
}
