package display

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// newsEvery is how often news are shown. What happens to many hosts within that time is one line.
const newsEvery = 300 * time.Millisecond

// News shows what happens to hosts while nothing else is shown, such as lost connections of tunnels.
// It is an [slog.Handler] for the library's log. It drops everything that comes before Begin.
type News struct {
	Screen *termline.Screen
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex // protects what follows
	on    bool
	texts []string            // in the order in which they came
	hosts map[string][]string // by text
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

// Enabled implements [slog.Handler].
func (n *News) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// WithAttrs implements [slog.Handler]. The library adds none.
func (n *News) WithAttrs([]slog.Attr) slog.Handler { return n }

// WithGroup implements [slog.Handler]. The library makes none.
func (n *News) WithGroup(string) slog.Handler { return n }

// Handle implements [slog.Handler].
func (n *News) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	var host fleetssh.HostConfig
	var problem results.Problem
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case fleetssh.HostConfig:
			host = v
		case error:
			problem = results.ProblemOf(v, &host)
		}
		return true
	})
	if problem.Reason != "" {
		text += ": " + problem.Reason
	}
	name := shownName(&host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.on {
		return nil
	}
	if n.hosts == nil {
		n.hosts = make(map[string][]string)
	}
	if n.hosts[text] == nil {
		n.texts = append(n.texts, text)
	}
	n.hosts[text] = append(n.hosts[text], name)
	return nil
}

func (n *News) tell() {
	n.mu.Lock()
	texts, hosts := n.texts, n.hosts
	n.texts, n.hosts = nil, nil
	n.mu.Unlock()
	for _, text := range texts {
		names := hosts[text]
		for i := range names {
			names[i] = termline.Visible(names[i])
		}
		n.Screen.Message("fleetssh: " + hostset.Of(names...).String() + ": " + strings.TrimSpace(termline.Visible(text)))
	}
}
