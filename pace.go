package fleetssh

import (
	"context"
	"sync"
	"time"

	"fleetssh/internal/deadline"
)

// fullPace is how many logins to one hop are under way at once: fewer than sshd's
// MaxStartups, which by default drops connections at random from 10 on.
const fullPace = 8

// paceUp is after how many logins without a dropped connection one more is risked.
const paceUp = 32

// pace bounds how many logins to one host are under way. When the host drops a
// connection, it takes fewer than there were.
type pace struct {
	mu     sync.Mutex // protects what follows
	most   int
	active int
	well   int             // logins since the last change of most
	until  time.Time       // nobody begins before
	queue  []chan struct{} // who waits, each for its channel to be closed
}

// enter waits until another login may begin.
func (p *pace) enter(ctx context.Context) error {
	for {
		p.mu.Lock()
		wait := time.Until(p.until)
		p.mu.Unlock()
		if wait <= 0 {
			return p.takeTurn(ctx)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return deadline.Cause(ctx)
		}
	}
}

// hold has nobody begin for so long.
func (p *pace) hold(long time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(long)
}

func (p *pace) takeTurn(ctx context.Context) error {
	p.mu.Lock()
	if p.active < p.most {
		p.active++
		p.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	p.queue = append(p.queue, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, waiting := range p.queue {
		if waiting == turn {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return deadline.Cause(ctx)
		}
	}
	p.release() // it has just been our turn
	return deadline.Cause(ctx)
}

// leave says that a login has ended: whether it went well, and whether the host
// dropped the connection before it had begun.
func (p *pace) leave(well, dropped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if well {
		p.well++
	}
	switch {
	case dropped:
		p.most, p.well = max(min(p.most, p.active)-1, 1), 0
	case p.well == paceUp:
		p.most, p.well = min(p.most+1, fullPace), 0
	}
	p.release()
}

func (p *pace) release() {
	p.active--
	for len(p.queue) > 0 && p.active < p.most {
		close(p.queue[0])
		p.queue = p.queue[1:]
		p.active++
	}
}
