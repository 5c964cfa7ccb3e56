package login

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// hostRecorder is a [slog.Handler] that keeps the attribute "host" of every record.
type hostRecorder struct {
	mu    sync.Mutex     // protects hosts
	hosts map[string]any // by message; the last one wins
}

func (*hostRecorder) Enabled(context.Context, slog.Level) bool { return true }

func (h *hostRecorder) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "host" {
			h.hosts[r.Message] = a.Value.Any()
		}
		return true
	})
	return nil
}

func (h *hostRecorder) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *hostRecorder) WithGroup(string) slog.Handler { return h }

// Every record about a host has it as a HostConfig in the attribute "host". Handlers rely on that.
func TestLogNamesHost(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	h := &hostRecorder{hosts: make(map[string]any)}
	good := fleettest.NewServer(t, nil).Config()
	good.ForwardAgent = true
	bad := fleettest.Faulty(t, simfleet.ResetAccept).Config()
	p := fleettest.NewFleet(t, good, bad)
	p.Logger = slog.New(h)
	_ = p.Connect(t.Context())
	p.Close()
	for _, message := range []string{"connected", "connection failed", "connection ended", "there is no SSH agent to forward: SSH_AUTH_SOCK is not set"} {
		if h.hosts[message] == nil {
			t.Errorf("%q is not logged with a host", message)
		}
	}
	for message, host := range h.hosts {
		if _, ok := host.(fleetssh.HostConfig); !ok {
			t.Errorf("%q: the host is a %T", message, host)
		}
	}
}
