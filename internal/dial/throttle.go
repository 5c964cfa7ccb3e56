package dial

import (
	"context"
	"sync"
	"time"

	"fleetssh/internal/deadline"
)

// mostLogins is how many logins to one hop are under way at once: fewer than sshd's
// MaxStartups, which by default drops connections at random from 10 on.
const mostLogins = 8

// oneMoreAfter is after how many logins without a dropped connection one more is risked.
const oneMoreAfter = 32

// throttle bounds how many logins to one host are under way. When the host drops a connection,
// it gets fewer at a time than there were.
type throttle struct {
	mu     sync.Mutex // protects what follows
	most   int
	active int
	well   int             // logins since the last change of most
	until  time.Time       // no login begins before
	queue  []chan struct{} // one for each login that waits; closed when it may begin
}

// enter waits until another login may begin.
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

// hold lets no login begin for so long.
func (t *throttle) hold(long time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Now().Add(long)
}

func (t *throttle) takeTurn(ctx context.Context) error {
	t.mu.Lock()
	if t.active < t.most {
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
	t.release() // it has just been our turn
	return deadline.Cause(ctx)
}

// leave records that a login has ended: whether it succeeded, and whether the host dropped the
// connection before the login had begun.
func (t *throttle) leave(well, dropped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if well {
		t.well++
	}
	switch {
	case dropped:
		t.most, t.well = max(min(t.most, t.active)-1, 1), 0
	case t.well == oneMoreAfter:
		t.most, t.well = min(t.most+1, mostLogins), 0
	}
	t.release()
}

func (t *throttle) release() {
	t.active--
	for len(t.queue) > 0 && t.active < t.most {
		close(t.queue[0])
		t.queue = t.queue[1:]
		t.active++
	}
}
