package display

import (
	"context"
	"iter"
	"log/slog"
	"sync"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// Warnings collects warnings about hosts, such as a ticket that could not be forwarded. It is an
// [slog.Handler] for the library's log.
type Warnings struct {
	mu    sync.Mutex // protects texts
	texts hostsByText
}

// hostsByText groups hosts by a text about them. The zero value is empty.
type hostsByText struct {
	texts []string            // in the order of arrival
	hosts map[string][]string // by text
}

// add adds a text about a host. The text is about no host in particular if host is empty.
func (g *hostsByText) add(text, host string) {
	if g.hosts == nil {
		g.hosts = make(map[string][]string)
	}
	if _, known := g.hosts[text]; !known {
		g.texts = append(g.texts, text)
		g.hosts[text] = nil
	}
	if host != "" {
		g.hosts[text] = append(g.hosts[text], host)
	}
}

// all yields each text with its hosts, as a set; empty: it is about none.
func (g *hostsByText) all() iter.Seq2[string, hostset.Set] {
	return func(yield func(string, hostset.Set) bool) {
		for _, text := range g.texts {
			if !yield(text, hostset.Of(g.hosts[text]...)) {
				return
			}
		}
	}
}

// Enabled implements [slog.Handler].
func (w *Warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// WithAttrs implements [slog.Handler]. The library adds none.
func (w *Warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler]. The library makes none.
func (w *Warnings) WithGroup(string) slog.Handler { return w }

// Handle implements [slog.Handler].
func (w *Warnings) Handle(_ context.Context, r slog.Record) error {
	text, host := r.Message, ""
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case fleetssh.HostConfig:
			host = shownName(&v)
		case error:
			text += ": " + v.Error()
		}
		return true
	})
	w.Add(text, host)
	return nil
}

// shownName returns the name of a host in messages.
func shownName(h *fleetssh.HostConfig) string {
	if h.Alias != "" {
		return h.Alias
	}
	return h.Host
}

// Add adds a warning about a host.
func (w *Warnings) Add(text, host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts.add(text, host)
}

// Show shows each warning with the hosts that it is about, and forgets it.
func (w *Warnings) Show(screen *termline.Screen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for text, hosts := range w.texts.all() {
		if hosts.Len() > 0 {
			text = hosts.String() + ": " + text
		}
		screen.Message("fleetssh: warning: " + text)
	}
	w.texts = hostsByText{}
}
