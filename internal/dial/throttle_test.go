package dial

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestThrottle lowers the limit by a dropped connection and raises it again by successful logins.
func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttle := &throttle{limit: maxConcurrentLogins}
		waiting := make(chan error, 1)
		for range maxConcurrentLogins {
			if err := throttle.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		go func() { waiting <- throttle.enter(t.Context()) }()
		synctest.Wait()
		throttle.leave(false, true) // 7 are active, and the limit is 7
		synctest.Wait()
		if len(waiting) > 0 {
			t.Error("a login began although the host has just dropped a connection")
		}
		throttle.leave(true, false)
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		for range maxConcurrentLogins - 1 {
			throttle.leave(true, false)
		}
		if throttle.active != 0 || throttle.limit != maxConcurrentLogins-1 {
			t.Errorf("%d logins are active, the limit is %d", throttle.active, throttle.limit)
		}
		for range raiseAfter {
			if err := throttle.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			throttle.leave(true, false)
		}
		if throttle.limit != maxConcurrentLogins {
			t.Errorf("after %d successful logins, the limit is %d", raiseAfter, throttle.limit)
		}
	})
}

// TestThrottleInterrupted interrupts a waiting login, which must not keep a turn.
func TestThrottleInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttle := &throttle{limit: 1}
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
			t.Errorf("%d logins are active, %d wait", throttle.active, len(throttle.queue))
		}
	})
}
