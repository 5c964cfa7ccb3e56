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

// hostsOf is a [slog.Handler] that keeps the attribute "host" of every record.
type hostsOf struct {
	mu    sync.Mutex
	hosts map[string]any // by message; the last one wins
}

func (*hostsOf) Enabled(context.Context, slog.Level) bool { return true }

func (h *hostsOf) Handle(_ context.Context, r slog.Record) error {
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

func (h *hostsOf) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *hostsOf) WithGroup(string) slog.Handler { return h }

// TestLogNamesHost expects every record about a host to carry it as a HostConfig, which
// handlers rely on.
func TestLogNamesHost(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	h := &hostsOf{hosts: make(map[string]any)}
	good := fleettest.NewServer(t, nil).Config()
	good.ForwardAgent = true
	bad := fleettest.Faulty(t, simfleet.ResetAccept).Config()
	p := fleettest.NewFleet(t, good, bad)
	p.Logger = slog.New(h)
	_ = p.Connect(t.Context())
	p.Close()
	for _, message := range []string{"connected", "connection failed", "connection ended", "there is no SSH agent to forward: SSH_AUTH_SOCK is not set"} {
		if h.hosts[message] == nil {
			t.Errorf("%q is not logged, or about no host", message)
		}
	}
	for message, host := range h.hosts {
		if _, ok := host.(fleetssh.HostConfig); !ok {
			t.Errorf("%q: the host is a %T", message, host)
		}
	}
}
