package display

import (
	"context"
	"log/slog"
	"sync"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// Warnings collects warnings about hosts, such as a ticket that could not be forwarded. It is an
// [slog.Handler] for the library's log.
type Warnings struct {
	Trace *Trace // shows what is no warning; nil: nothing does

	mu    sync.Mutex // protects texts
	texts fold.Texts[string]
}

// Enabled implements [slog.Handler].
func (w *Warnings) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || w.Trace != nil
}

// WithAttrs implements [slog.Handler]. The library adds none.
func (w *Warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler]. The library makes none.
func (w *Warnings) WithGroup(string) slog.Handler { return w }

// Handle implements [slog.Handler].
func (w *Warnings) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		w.Trace.Show(&r)
		return nil
	}
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

// Add adds a warning about a host; empty: about none in particular.
func (w *Warnings) Add(text, host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if host == "" {
		w.texts.Add(text)
		return
	}
	w.texts.Add(text, host)
}

// Show shows each warning with the hosts that it is about, and forgets it.
func (w *Warnings) Show(screen *termline.Screen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for text, hosts := range w.texts.All() {
		if len(hosts) > 0 {
			text = hostset.Of(hosts...).String() + ": " + text
		}
		screen.Message("fleetssh: warning: " + text)
	}
	w.texts = fold.Texts[string]{}
}
