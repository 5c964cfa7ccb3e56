package display

import (
	"context"
	"strings"
	"sync"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// newsEvery is how often news are shown. What happens to many hosts within that time is one line.
const newsEvery = 300 * time.Millisecond

// News shows what happens to the hosts of tunnels. It drops everything that comes before Begin.
type News struct {
	Screen *termline.Screen
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex // protects what follows
	on    bool
	texts fold.Texts[string]
}

// Begin shows news from now on, until End is called or ctx ends.
func (n *News) Begin(ctx context.Context) {
	ctx, n.cancel = context.WithCancel(ctx)
	n.done = make(chan struct{})
	n.mu.Lock()
	n.on = true
	n.mu.Unlock()
	go func() {
		defer close(n.done)
		ticker := time.NewTicker(newsEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				n.tell()
			case <-ctx.Done():
				return
			}
		}
	}()
}

// End shows what is left. What comes after it is dropped, since the end itself causes it.
func (n *News) End() {
	n.cancel()
	<-n.done
	n.mu.Lock()
	n.on = false
	n.mu.Unlock()
	n.tell()
}

// Add adds an event. It is the TunnelChanged of a [fleetssh.ParallelClient], and may be called
// concurrently.
func (n *News) Add(e fleetssh.TunnelEvent) {
	text := e.Kind.String()
	if e.Err != nil {
		text += ": " + results.ProblemOf(e.Err, &e.Host).Reason
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.on {
		n.texts.Add(text, termline.Visible(shownName(&e.Host)))
	}
}

func (n *News) tell() {
	n.mu.Lock()
	texts := n.texts
	n.texts = fold.Texts[string]{}
	n.mu.Unlock()
	for text, hosts := range texts.All() {
		n.Screen.Message("fleetssh: " + hostset.Of(hosts...).String() + ": " + strings.TrimSpace(termline.Visible(text)))
	}
}
