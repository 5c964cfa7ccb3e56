package dial

import (
	"context"
	"sync"
	"time"

	"fleetssh/internal/deadline"
)

// maxConcurrentLogins limits the concurrent logins to one hop. It is below the default of sshd's
// MaxStartups, which drops connections at random from 10 on.
const maxConcurrentLogins = 8

// raiseAfter is the number of successful logins after which a throttle raises its limit by one.
const raiseAfter = 32

// throttle limits the concurrent logins to one host. It lowers the limit when the host drops a
// connection, and raises it again after successful logins.
type throttle struct {
	mu        sync.Mutex // protects what follows
	limit     int
	active    int
	succeeded int             // logins that succeeded since limit last changed
	until     time.Time       // no login begins before this time
	queue     []chan struct{} // one for each waiting login; closed when it may begin
}

// enter waits until a login may begin. The caller then calls leave, unless there is an error.
func (t *throttle) enter(ctx context.Context) error {
	for {
		t.mu.Lock()
		wait := time.Until(t.until)
		t.mu.Unlock()
		if wait <= 0 {
			return t.takeTurn(ctx)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return deadline.Cause(ctx)
		}
	}
}

// hold makes new logins wait for d.
func (t *throttle) hold(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Now().Add(d)
}

// takeTurn waits until fewer logins are active than the limit.
func (t *throttle) takeTurn(ctx context.Context) error {
	t.mu.Lock()
	if t.active < t.limit {
		t.active++
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	t.queue = append(t.queue, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, waiting := range t.queue {
		if waiting == turn {
			t.queue = append(t.queue[:i], t.queue[i+1:]...)
			return deadline.Cause(ctx)
		}
	}
	t.release() // release has just given us the turn
	return deadline.Cause(ctx)
}

// leave records the end of a login: whether it succeeded, and whether the host dropped the
// connection during the handshake.
func (t *throttle) leave(succeeded, dropped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if succeeded {
		t.succeeded++
	}
	switch {
	case dropped:
		t.limit, t.succeeded = max(min(t.limit, t.active)-1, 1), 0
	case t.succeeded == raiseAfter:
		t.limit, t.succeeded = min(t.limit+1, maxConcurrentLogins), 0
	}
	t.release()
}

// release ends an active login and lets waiting ones begin. The caller holds mu.
func (t *throttle) release() {
	t.active--
	for len(t.queue) > 0 && t.active < t.limit {
		close(t.queue[0])
		t.queue = t.queue[1:]
		t.active++
	}
}
